/* SPDX-License-Identifier: Apache-2.0 */
/* The command line's grammar, and that the table itself is sound. No privilege. */
#include "client/options.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define WORDS_MAX 12

/* What the handler saw, as text: "tty;env=A=b;". */
struct seen {
    char text[512];
};

static int record(void *data, enum option_id id, const char *value, struct error *err)
{
    struct seen *seen = data;
    size_t n = strlen(seen->text);
    if (value && streq(value, "refuse"))
        return -EPERM;
    (void)snprintf(seen->text + n, sizeof(seen->text) - n, "%d%s%s;", (int)id, value ? "=" : "",
                   value ? value : "");
    return 0;
}

struct parsed {
    int r;
    struct seen seen;
    struct error err;
    char operands[256]; /* joined by '|' */
};

static void parse(const char *verb, const char *const *words, struct parsed *ret)
{
    char *argv[WORDS_MAX + 1] = {NULL};
    char copies[WORDS_MAX][64];
    int argc = 0;
    int first = 0;
    for (; argc < WORDS_MAX && words[argc]; argc++) {
        (void)snprintf(copies[argc], sizeof(copies[argc]), "%s", words[argc]);
        argv[argc] = copies[argc];
    }
    *ret = (struct parsed){0};
    const struct option_call call = {
        .verb = verb_named(verb), .handler = record, .data = &ret->seen};
    assert_non_null(call.verb);
    ret->r = options_parse(&call, argc, argv, &first, &ret->err);
    for (int i = first; ret->r == 0 && i < argc; i++) {
        size_t n = strlen(ret->operands);
        (void)snprintf(ret->operands + n, sizeof(ret->operands) - n, "%s%s",
                       i > first ? "|" : "", argv[i]);
    }
}

/* The ids in `seen` as the handler writes them. */
static void expect_seen(const struct parsed *parsed, const char *format, ...) _printf_(2, 3);
static void expect_seen(const struct parsed *parsed, const char *format, ...)
{
    char text[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    assert_string_equal(parsed->seen.text, text);
}

#define PARSE(verb, parsed, ...) parse(verb, (const char *const[]){__VA_ARGS__, NULL}, parsed)

static void test_operands_only(void **state)
{
    struct parsed parsed;
    PARSE("run", &parsed, "debian");
    assert_int_equal(parsed.r, 0);
    assert_string_equal(parsed.operands, "debian");
    expect_seen(&parsed, "%s", "");
}

static void test_forms_of_a_value(void **state)
{
    static const char *const forms[][3] = {
        {"-e", "A=b", NULL},
        {"-eA=b", NULL},
        {"--env", "A=b", NULL},
        {"--env=A=b", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(forms); i++) {
        struct parsed parsed;
        const char *words[5] = {NULL};
        size_t n = 0;
        for (; forms[i][n]; n++)
            words[n] = forms[i][n];
        words[n] = "debian";
        parse("run", words, &parsed);
        assert_int_equal(parsed.r, 0);
        expect_seen(&parsed, "%d=A=b;", OPTION_ENV);
        assert_string_equal(parsed.operands, "debian");
    }
}

static void test_clusters(void **state)
{
    struct parsed parsed;
    PARSE("run", &parsed, "-itq", "debian");
    expect_seen(&parsed, "%d;%d;%d;", OPTION_INTERACTIVE, OPTION_TTY, OPTION_QUIET);
    PARSE("run", &parsed, "-ite", "X=1", "debian");
    expect_seen(&parsed, "%d;%d;%d=X=1;", OPTION_INTERACTIVE, OPTION_TTY, OPTION_ENV);
    PARSE("run", &parsed, "-tw/x", "debian");
    expect_seen(&parsed, "%d;%d=/x;", OPTION_TTY, OPTION_WORKDIR);
    PARSE("run", &parsed, "-wt", "debian"); /* "t" is the value */
    expect_seen(&parsed, "%d=t;", OPTION_WORKDIR);
    PARSE("run", &parsed, "-tZ", "debian");
    assert_int_equal(parsed.r, -EINVAL);
    assert_non_null(strstr(parsed.err.text, "-Z"));
}

static void test_values_that_look_like_options(void **state)
{
    struct parsed parsed;
    PARSE("run", &parsed, "--workdir", "--tty", "debian");
    assert_int_equal(parsed.r, 0);
    expect_seen(&parsed, "%d=--tty;", OPTION_WORKDIR);
    PARSE("run", &parsed, "--workdir=", "debian");
    expect_seen(&parsed, "%d=;", OPTION_WORKDIR);
    PARSE("run", &parsed, "-e", "--", "debian");
    expect_seen(&parsed, "%d=--;", OPTION_ENV);
    assert_string_equal(parsed.operands, "debian");
}

static void test_run_stops_at_template(void **state)
{
    struct parsed parsed;
    PARSE("run", &parsed, "-t", "debian", "ls", "-la", "--tty");
    assert_int_equal(parsed.r, 0);
    expect_seen(&parsed, "%d;", OPTION_TTY);
    assert_string_equal(parsed.operands, "debian|ls|-la|--tty");
    PARSE("run", &parsed, "-t", "debian", "--", "-la", "--", "x");
    assert_string_equal(parsed.operands, "debian|-la|--|x");
    PARSE("run", &parsed, "debian", "--help");
    assert_int_equal(parsed.r, 0);
    assert_string_equal(parsed.operands, "debian|--help");
    PARSE("run", &parsed, "debian", "--");
    assert_string_equal(parsed.operands, "debian");
    PARSE("run", &parsed, "--", "debian", "-x");
    assert_string_equal(parsed.operands, "debian|-x");
    PARSE("run", &parsed, "--", "-t", "-x");
    assert_string_equal(parsed.operands, "-t|-x");
    /* the "--" before the template was the one that is taken away */
    PARSE("run", &parsed, "--", "debian", "--", "x");
    assert_string_equal(parsed.operands, "debian|--|x");
}

static void test_others_take_options_anywhere(void **state)
{
    struct parsed parsed;
    PARSE("template create", &parsed, "new", "--from", "debian", "-q");
    assert_int_equal(parsed.r, 0);
    expect_seen(&parsed, "%d=debian;%d;", OPTION_FROM, OPTION_QUIET);
    assert_string_equal(parsed.operands, "new");
    PARSE("rm", &parsed, "a", "--", "-b", "--json");
    assert_string_equal(parsed.operands, "a|-b|--json");
    PARSE("rm", &parsed, "-", "a");
    assert_string_equal(parsed.operands, "-|a");
    PARSE("diff", &parsed, "a", "--json");
    expect_seen(&parsed, "%d;", OPTION_JSON);
}

static void test_numbers_of_operands(void **state)
{
    struct parsed parsed;
    static const char *const none[] = {NULL};
    parse("run", none, &parsed);
    assert_int_equal(parsed.r, -EINVAL);
    assert_non_null(strstr(parsed.err.text, "too few"));
    assert_non_null(strstr(parsed.err.text, "usage: isolate run "));
    PARSE("run", &parsed, "-t");
    assert_int_equal(parsed.r, -EINVAL);
    PARSE("run", &parsed, "--");
    assert_int_equal(parsed.r, -EINVAL);
    PARSE("ps", &parsed, "x");
    assert_non_null(strstr(parsed.err.text, "too many"));
    PARSE("commit", &parsed, "a");
    assert_int_equal(parsed.r, -EINVAL);
    PARSE("commit", &parsed, "a", "b");
    assert_int_equal(parsed.r, 0);
    PARSE("commit", &parsed, "a", "b", "c");
    assert_int_equal(parsed.r, -EINVAL);
    parse("ps", none, &parsed);
    assert_int_equal(parsed.r, 0);
}

static void test_errors(void **state)
{
    static const struct {
        const char *words[3];
        const char *needle;
    } cases[] = {
        {{"--netwrok", "host", NULL}, "unknown option --netwrok; did you mean --network?"},
        {{"--readonly", NULL}, "did you mean --read-only?"},
        {{"--zzzzzzzz", NULL}, "unknown option --zzzzzzzz; see `isolate help run`"},
        {{"--netwrok=host", NULL}, "did you mean --network?"},
        {{"--=x", NULL}, "unknown option --"},
        {{"---tty", NULL}, "unknown option ---tty"},
        {{"--tt", NULL}, "unknown option --tt"}, /* no abbreviations */
        {{"-Z", NULL}, "unknown option -Z"},
        {{"-t=x", NULL}, "unknown option -="},
        {{"--tty=yes", NULL}, "--tty takes no value"},
        {{"--workdir", NULL}, "--workdir needs a value: DIR"},
        {{"-w", NULL}, "--workdir needs a value: DIR"},
        {{"-tw", NULL}, "--workdir needs a value: DIR"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct parsed parsed;
        parse("run", cases[i].words, &parsed);
        assert_int_equal(parsed.r, -EINVAL);
        assert_int_equal(parsed.err.code, ERROR_INVALID);
        if (!text_after(parsed.err.text, "run: ") || !strstr(parsed.err.text, cases[i].needle))
            fail_msg("%s: %s", cases[i].words[0], parsed.err.text);
    }
}

static void test_handler_refuses(void **state)
{
    struct parsed parsed;
    PARSE("run", &parsed, "--workdir=refuse", "-t", "debian");
    assert_int_equal(parsed.r, -EPERM);
    expect_seen(&parsed, "%s", ""); /* nothing behind it was looked at */
}

static void test_help(void **state)
{
    static const char *const forms[] = {"-h", "--help", "-th"};
    for (size_t i = 0; i < ELEMENTS(forms); i++) {
        struct parsed parsed;
        PARSE("run", &parsed, forms[i]);
        assert_int_equal(parsed.r, 1);
    }
    struct parsed parsed;
    PARSE("commit", &parsed, "x", "--help"); /* before operands are counted */
    assert_int_equal(parsed.r, 1);
    PARSE("run", &parsed, "--help=x");
    assert_int_equal(parsed.r, -EINVAL);
}

static void test_verbs(void **state)
{
    static const struct {
        const char *words[3];
        int n;
        const char *name;
    } cases[] = {
        {{"run", NULL}, 1, "run"},
        {{"run", "create", NULL}, 1, "run"},
        {{"template", "create", "x"}, 2, "template create"},
        {{"template", "update", NULL}, 2, "template update"},
        {{"template", NULL}, 0, NULL},
        {{"template", "frobnicate", NULL}, 0, NULL},
        {{"template create", NULL}, 1, "template create"},
        {{"Run", NULL}, 0, NULL},
        {{"", NULL}, 0, NULL},
        {{"", "", NULL}, 0, NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        const struct verb *verb = NULL;
        int argc = 0;
        while (argc < 3 && cases[i].words[argc])
            argc++;
        assert_int_equal(verb_find(argc, (char **)cases[i].words, &verb), cases[i].n);
        if (cases[i].name)
            assert_string_equal(verb->name, cases[i].name);
        else
            assert_null(verb);
    }
    const struct verb *verb = NULL;
    assert_int_equal(verb_find(0, NULL, &verb), 0);
}

static void check_option(const struct verb *verb, const struct option *option)
{
    for (const struct option *other = verb->options; other != option; other++) {
        assert_string_not_equal(other->name, option->name);
        if (option->letter)
            assert_int_not_equal(other->letter, option->letter);
    }
    assert_non_null(option->help);
    assert_true(option->complete == COMPLETE_NONE || option->argument);
    assert_int_equal(option->complete == COMPLETE_WORDS, option->words != NULL);
}

static void test_table(void **state)
{
    for (const struct verb *verb = verbs; verb->name; verb++) {
        bool help = false;
        assert_ptr_equal(verb_named(verb->name), verb); /* names are unique */
        assert_non_null(verb->synopsis);
        assert_non_null(verb->help);
        for (const struct option *option = verb->options; option->id; option++) {
            check_option(verb, option);
            help = help || option->id == OPTION_HELP;
        }
        assert_true(help);
        assert_true(verb->max_operands < 0 || verb->max_operands >= verb->min_operands);
    }
    for (const struct verb_group *group = verb_groups; group->name; group++) {
        size_t n = 0;
        for (const struct verb *verb = verbs; verb->name; verb++)
            n += verb_name_in(group, verb) != NULL;
        assert_true(n > 1);
        assert_ptr_equal(verb_group_named(group->name), group);
        assert_null(verb_named(group->name)); /* it would hide its verbs' help */
    }
    assert_null(verb_group_named("pool"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_operands_only),
        cmocka_unit_test(test_forms_of_a_value),
        cmocka_unit_test(test_clusters),
        cmocka_unit_test(test_values_that_look_like_options),
        cmocka_unit_test(test_run_stops_at_template),
        cmocka_unit_test(test_others_take_options_anywhere),
        cmocka_unit_test(test_numbers_of_operands),
        cmocka_unit_test(test_errors),
        cmocka_unit_test(test_handler_refuses),
        cmocka_unit_test(test_help),
        cmocka_unit_test(test_verbs),
        cmocka_unit_test(test_table),
    };
    return cmocka_run_group_tests_name("options", tests, NULL, NULL);
}
