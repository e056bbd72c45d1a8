/* SPDX-License-Identifier: Apache-2.0 */
/* The parser of the command line, driven by the table. Runs as the caller. */
#include "client/options.h"

#include "base/text.h"

#include <string.h>

#define OPTIONS_MAX 48

const struct verb *verb_named(const char *name)
{
    for (const struct verb *verb = verbs; verb->name; verb++)
        if (streq(verb->name, name))
            return verb;
    return NULL;
}

const struct verb_group *verb_group_named(const char *name)
{
    for (const struct verb_group *group = verb_groups; group->name; group++)
        if (streq(group->name, name))
            return group;
    return NULL;
}

const char *verb_name_in(const struct verb_group *group, const struct verb *verb)
{
    const char *rest = text_after(verb->name, group->name);
    return rest && *rest == ' ' ? rest + 1 : NULL;
}

int verb_find(int argc, char **argv, const struct verb **ret)
{
    char two[64];
    if (argc >= 2) {
        (void)snprintf(two, sizeof(two), "%.30s %.30s", argv[0], argv[1]);
        *ret = verb_named(two);
        if (*ret)
            return 2;
    }
    *ret = argc >= 1 ? verb_named(argv[0]) : NULL;
    return *ret ? 1 : 0;
}

static const struct option *find_letter(const struct verb *verb, char letter)
{
    for (const struct option *option = verb->options; option->id; option++)
        if (option->letter == letter)
            return option;
    return NULL;
}

static const struct option *find_name(const struct verb *verb, const char *name, size_t length)
{
    for (const struct option *option = verb->options; option->id; option++)
        if (strlen(option->name) == length && strncmp(option->name, name, length) == 0)
            return option;
    return NULL;
}

static int unknown(const struct verb *verb, const char *name, size_t length, struct error *err)
{
    const char *known[OPTIONS_MAX];
    char word[64];
    size_t n = 0;
    for (const struct option *option = verb->options; option->id && n < OPTIONS_MAX; option++)
        known[n++] = option->name;
    (void)snprintf(word, sizeof(word), "%.*s", (int)(length < 60 ? length : 60), name);
    const char *here = option_known_elsewhere(verb->name, word);
    if (here)
        return fail(err, ERROR_INVALID, EINVAL, "%s: there is no --%s; here: %s", verb->name,
                    word, here);
    const char *nearest = text_nearest(word, known, n);
    return fail(err, ERROR_INVALID, EINVAL, "%s: unknown option --%s; %s%s%s%s", verb->name,
                word, nearest ? "did you mean --" : "see `isolate help ",
                nearest ? nearest : verb->name, nearest ? "?" : "", nearest ? "" : "`");
}

struct parser {
    const struct option_call *call;
    int argc;
    char **argv;
    int at; /* the argument that is looked at */
    bool help;
    struct error *err;
};

static int deliver(struct parser *parser, const struct option *option, const char *value)
{
    if (option->id == OPTION_HELP) {
        parser->help = true;
        return 0;
    }
    return parser->call->handler(parser->call->data, option->id, value, parser->err);
}

/* The value of an option that has not brought it along. */
static int next_value(struct parser *parser, const struct option *option, const char **ret)
{
    if (parser->at + 1 >= parser->argc)
        return fail(parser->err, ERROR_INVALID, EINVAL, "%s: --%s needs a value: %s",
                    parser->call->verb->name, option->name, option->argument);
    *ret = parser->argv[++parser->at];
    return 0;
}

static int parse_long(struct parser *parser, const char *text)
{
    const struct verb *verb = parser->call->verb;
    size_t length = strcspn(text, "=");
    const char *value = text[length] == '=' ? text + length + 1 : NULL;
    const struct option *option = find_name(verb, text, length);
    if (!option)
        return unknown(verb, text, length, parser->err);
    if (value && !option->argument)
        return fail(parser->err, ERROR_INVALID, EINVAL, "%s: --%s takes no value", verb->name,
                    option->name);
    if (!value && option->argument) {
        int r = next_value(parser, option, &value);
        if (r < 0)
            return r;
    }
    return deliver(parser, option, value);
}

static int parse_letters(struct parser *parser, const char *letters)
{
    for (const char *p = letters; *p; p++) {
        const char *value = NULL;
        const struct option *option = find_letter(parser->call->verb, *p);
        if (!option && find_letter(parser->call->verb, 's') && *p >= '0' && *p <= '9')
            return fail(parser->err, ERROR_INVALID, EINVAL,
                        "%s: unknown option -%c; a signal is given as -s %s",
                        parser->call->verb->name, *p, p);
        if (!option)
            return fail(parser->err, ERROR_INVALID, EINVAL,
                        "%s: unknown option -%c; see `isolate help %s`",
                        parser->call->verb->name, *p, parser->call->verb->name);
        if (option->argument) {
            value = p[1] ? p + 1 : NULL;
            if (!value) {
                int r = next_value(parser, option, &value);
                if (r < 0)
                    return r;
            }
        }
        int r = deliver(parser, option, value);
        if (r < 0 || option->argument)
            return r;
    }
    return 0;
}

int options_check_operands(const struct verb *verb, int n, struct error *err)
{
    if (n < verb->min_operands || (verb->max_operands >= 0 && n > verb->max_operands))
        return fail(err, ERROR_INVALID, EINVAL, "%s: too %s arguments; usage: isolate %s %s",
                    verb->name, n < verb->min_operands ? "few" : "many", verb->name,
                    verb->synopsis);
    return 0;
}

int options_parse(const struct option_call *call, int argc, char **argv, int *ret_first,
                  struct error *err)
{
    struct parser parser = {.call = call, .argc = argc, .argv = argv, .err = err};
    int n = 0; /* operands, gathered at the beginning */
    bool options = true;
    int r = 0;
    for (; parser.at < argc && r == 0; parser.at++) {
        char *text = argv[parser.at];
        if (options && streq(text, "--")) {
            options = false;
        } else if (options && text[0] == '-' && text[1] == '-') {
            r = parse_long(&parser, text + 2);
        } else if (options && text[0] == '-' && text[1]) {
            r = parse_letters(&parser, text + 1);
        } else {
            argv[n++] = text;
            if (n == 1 && call->verb->stops_at_operand) {
                parser.at++;
                break;
            }
        }
    }
    if (r < 0)
        return r;
    if (parser.help)
        return 1;
    /* behind the first operand of `run` one "--" may stand */
    if (parser.at < argc && options && streq(argv[parser.at], "--"))
        parser.at++;
    int rest = argc - parser.at;
    r = call->any_operands ? 0
                           : options_check_operands(call->verb, n + (rest > 0 ? rest : 0), err);
    if (r < 0)
        return r;
    *ret_first = parser.at - n;
    memmove(argv + *ret_first, argv, (size_t)n * sizeof(*argv));
    return 0;
}
