/* SPDX-License-Identifier: Apache-2.0 */
/* What the table of options says about operands, the sections of the man pages made from it,
 * and the verb `completion`. Runs at build time and as the caller. Input is the table only. */
#include "client/generate.h"

#include "base/log.h"
#include "base/text.h"
#include "client/options.h"

#include <ctype.h>
#include <string.h>

/* The word of the synopsis that stands for the operand at index (0, 1), "" where there is none.
 */
static void synopsis_word(const struct verb *verb, int index, char *out, size_t size)
{
    const char *p = verb->synopsis;
    out[0] = '\0';
    while (*p) {
        size_t n = strcspn(p, " ");
        bool option = text_after(p, "[OPTIONS]") || *p == '-';
        if (!option && index-- == 0) {
            (void)snprintf(out, size, "%.*s", (int)n, p);
            return;
        }
        p += n;
        p += strspn(p, " ");
    }
}

enum operand generate_operand(const struct verb *verb, int index)
{
    char word[64];
    synopsis_word(verb, index, word, sizeof(word));
    if (streq(verb->name, "run") && index == 0)
        return OPERAND_ROOT;
    if (index == 0 && verb->operand == COMPLETE_TEMPLATE)
        return OPERAND_TEMPLATE;
    if (text_after(word, "SANDBOX"))
        return OPERAND_SANDBOX;
    if (streq(word, "STORAGE"))
        return OPERAND_STORAGE;
    if (text_after(word, "TEMPLATE"))
        return OPERAND_TEMPLATE;
    if (streq(word, "[VERB]"))
        return OPERAND_VERB;
    return strchr(word, '|') ? OPERAND_SHELL : OPERAND_NONE;
}

int generate_operand_count(const struct verb *verb)
{
    if (generate_operand(verb, 0) == OPERAND_NONE)
        return 0;
    return !verb->stops_at_operand && generate_operand(verb, 1) != OPERAND_NONE ? 2 : 1;
}

bool generate_operand_repeats(const struct verb *verb)
{
    return !verb->stops_at_operand && verb->max_operands < 0;
}

bool generate_may_repeat(enum option_id id)
{
    return id == OPTION_ENV || id == OPTION_ENV_FILE || id == OPTION_BIND ||
           id == OPTION_TMPFS || id == OPTION_CAP_ADD || id == OPTION_CAP_DROP;
}

void generate_identifier(FILE *out, const char *name)
{
    for (; *name; name++)
        (void)fputc(isalnum((unsigned char)*name) ? *name : '_', out);
}

/* Text for scdoc(5). Of its markup only '*' passes, and only where markup is set: the table's
 * longer texts use it for bold. */
static void put_scdoc(FILE *out, const char *text, bool markup)
{
    for (const char *p = text; *p; p++) {
        bool special = *p == '\\' || *p == '_' || *p == '`' || (*p == '*' && !markup);
        bool leading = p == text && strchr("#-.|[];+", *p);
        if (special || leading)
            (void)fputc('\\', out);
        (void)fputc(*p, out);
        /* "++" at the end of a line would break it */
        if (*p == '+' && p[1] == '+')
            (void)fputc('\\', out);
    }
}

/* Whether text begins with one of the values that the option takes: no capital there. */
static bool begins_with_value(const struct option *option)
{
    size_t n = strcspn(option->help, " ");
    for (const char *p = option->words; p && *p; p += strcspn(p, " "), p += *p == ' ')
        if (strcspn(p, " ") == n && strncmp(p, option->help, n) == 0)
            return true;
    return false;
}

static void put_sentence(FILE *out, const char *text, bool capital)
{
    char copy[256];
    (void)snprintf(copy, sizeof(copy), "%s", text);
    if (capital)
        copy[0] = (char)toupper((unsigned char)copy[0]);
    put_scdoc(out, copy, false);
    (void)fputc('.', out);
}

static void man_option(FILE *out, const struct option *option)
{
    if (option->letter)
        (void)fprintf(out, "*-%c*, ", option->letter);
    (void)fprintf(out, "*--%s*", option->name);
    if (option->argument) {
        (void)fputs(" _", out);
        put_scdoc(out, option->argument, false);
        (void)fputc('_', out);
    }
    (void)fputs("\n\t", out);
    put_sentence(out, option->help, !begins_with_value(option));
    if (option->more) {
        (void)fputc(' ', out);
        put_scdoc(out, option->more, true);
    }
    (void)fputs("\n\n", out);
}

void generate_man(const char *group, FILE *out)
{
    for (const struct verb *verb = verbs; verb->name; verb++) {
        const char *space = strchr(verb->name, ' ');
        const char *rest = group ? text_after(verb->name, group) : NULL;
        if (group ? !rest || *rest != ' ' : space != NULL)
            continue;
        (void)fprintf(out, "## isolate %s\n\n*isolate %s*", verb->name, verb->name);
        if (*verb->synopsis)
            (void)fputc(' ', out);
        put_scdoc(out, verb->synopsis, false);
        (void)fputs("\n\n", out);
        put_sentence(out, verb->help, true);
        (void)fputs("\n\n", out);
        for (const struct option *option = verb->options; option->id; option++)
            if (option->id != OPTION_HELP) /* the page says once that every verb has it */
                man_option(out, option);
    }
}

static int no_option(void *data, enum option_id id, const char *value, struct error *err)
{
    return fail(err, ERROR_INVALID, EINVAL, "option %d is not handled", (int)id);
}

static void (*find_generator(const char *shell))(FILE *)
{
    static const struct {
        const char *shell;
        void (*generate)(FILE *out);
    } generators[] = {
        {"bash", generate_bash},
        {"zsh", generate_zsh},
        {"fish", generate_fish},
    };
    for (size_t i = 0; i < ELEMENTS(generators); i++)
        if (streq(generators[i].shell, shell))
            return generators[i].generate;
    return NULL;
}

int completion_main(int argc, char **argv)
{
    struct error err = {0};
    int first = 0;
    const struct verb *verb = verb_named("completion");
    const struct option_call call = {.verb = verb, .handler = no_option};
    int r = options_parse(&call, argc, argv, &first, &err);
    if (r == 1) {
        options_help(verb);
        return 0;
    }
    if (r < 0) {
        log_error("%s", err.text);
        return error_exit_status(err.code);
    }
    void (*generate)(FILE *) = find_generator(argv[first]);
    if (!generate) {
        log_error("completion: no shell \"%.40s\" is known; there are bash, zsh and fish",
                  argv[first]);
        return 125;
    }
    generate(stdout);
    return 0;
}
