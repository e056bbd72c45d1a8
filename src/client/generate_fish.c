/* SPDX-License-Identifier: Apache-2.0 */
/* The completion of fish: one `complete` for each option and operand, under a condition that
 * walks the line. Runs at build time and, for `isolate completion`, as the caller. Input is the
 * table only. */
#include "base/text.h"
#include "client/generate.h"

/* Inside '…' of fish. */
static void put_quoted(FILE *out, const char *text)
{
    (void)fputc('\'', out);
    for (; *text; text++) {
        if (*text == '\'' || *text == '\\')
            (void)fputc('\\', out);
        (void)fputc(*text, out);
    }
    (void)fputc('\'', out);
}

/* What follows -a of a value that is a word: words that end in ':' go on with a path. */
static void put_words(FILE *out, const char *words)
{
    if (!strchr(words, ':')) {
        (void)fprintf(out, " -x -a '%s'", words);
        return;
    }
    (void)fprintf(out, " -x -a '(__isolate_source %s)'", words);
}

static void put_value(FILE *out, const struct option *option)
{
    switch (option->complete) {
    case COMPLETE_FILE:
        (void)fputs(" -r -F", out);
        break;
    case COMPLETE_DIR:
        (void)fputs(" -x -a '(__fish_complete_directories)'", out);
        break;
    case COMPLETE_WORDS:
        put_words(out, option->words);
        break;
    case COMPLETE_TEMPLATE:
        (void)fputs(" -x -a '(__isolate_templates)'", out);
        break;
    case COMPLETE_NONE:
        (void)fputs(" -x", out);
        break;
    }
}

static void put_option(FILE *out, const struct verb *verb, const struct option *option)
{
    (void)fprintf(out, "complete -c isolate -n '__isolate_at \"%s\" options'", verb->name);
    if (option->letter)
        (void)fprintf(out, " -s %c", option->letter);
    (void)fprintf(out, " -l %s", option->name);
    if (option->argument)
        put_value(out, option);
    (void)fputs(" -d ", out);
    put_quoted(out, option->help);
    (void)fputc('\n', out);
}

static void put_operands(FILE *out, const struct verb *verb)
{
    static const char *const choices[] = {
        [OPERAND_NONE] = "",
        [OPERAND_TEMPLATE] = "(__isolate_templates)",
        [OPERAND_ROOT] = "(__isolate_roots)",
        [OPERAND_SANDBOX] = "(__isolate_sandboxes)",
        [OPERAND_STORAGE] = "(__isolate_storages)",
        [OPERAND_VERB] = "(__isolate_verbs)",
        [OPERAND_SHELL] = "bash zsh fish",
    };
    for (int i = 0; i < generate_operand_count(verb); i++) {
        const char *position = generate_operand_repeats(verb) ? "any" : i == 0 ? "0" : "1";
        (void)fprintf(out, "complete -c isolate -n '__isolate_at \"%s\" %s' -a '%s'\n",
                      verb->name, position, choices[generate_operand(verb, i)]);
    }
    if (verb->stops_at_operand)
        (void)fprintf(out, "complete -c isolate -n '__isolate_at \"%s\" command' -F\n",
                      verb->name);
}

/* The options of a verb as argparse(1) of fish wants them. */
static void put_specs(FILE *out)
{
    (void)fputs("function __isolate_specs --argument-names verb\n    switch $verb\n", out);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        (void)fprintf(out, "        case '%s'\n            string split ' ' --", verb->name);
        (void)fputs(" '", out);
        if (verb->stops_at_operand)
            (void)fputs("--stop-nonopt ", out);
        for (const struct option *option = verb->options; option->id; option++) {
            if (option->letter)
                (void)fprintf(out, "%c/", option->letter);
            (void)fprintf(out, "%s%s%s", option->name, option->argument ? "=+" : "",
                          option[1].id ? " " : "'\n");
        }
    }
    (void)fputs("    end\nend\n\n", out);
}

static const char body[] =
    "function __isolate_templates\n"
    "    isolate __complete templates 2>/dev/null\n"
    "end\n"
    "\n"
    "function __isolate_sandboxes\n"
    "    isolate __complete sandboxes 2>/dev/null\n"
    "end\n"
    "\n"
    "function __isolate_storages\n"
    "    isolate __complete storages 2>/dev/null\n"
    "end\n"
    "\n"
    "function __isolate_roots\n"
    "    if string match -qr '^[./]' -- (commandline -ct)\n"
    "        __fish_complete_directories\n"
    "    else\n"
    "        __isolate_templates\n"
    "        echo @host\n"
    "    end\n"
    "end\n"
    "\n"
    "# Words of which those that end in ':' are followed by a path.\n"
    "function __isolate_source\n"
    "    set -l current (string replace -r -- '^--[^=]*=' '' (commandline -ct))\n"
    "    set -l parts (string split -m 1 -- : $current)\n"
    "    if set -q parts[2]; and contains -- $parts[1]: $argv\n"
    "        printf \"$parts[1]:%s\\n\" (__fish_complete_path $parts[2])\n"
    "    else\n"
    "        printf '%s\\n' $argv\n"
    "    end\n"
    "end\n"
    "\n"
    "# Whether the cursor is behind this verb at operand 0, 1 or any, at the command, or "
    "where\n"
    "# options may stand.\n"
    "function __isolate_at --argument-names verb place\n"
    "    set -l words (string split ' ' -- $verb)\n"
    "    set -l line (commandline -opc)\n"
    "    test (count $line) -gt (count $words); or return\n"
    "    test \"$line[2..\"(math 1 + (count $words))\"]\" = \"$verb\"; or return\n"
    "    set -l behind $line[(math 2 + (count $words))..-1]\n"
    "    set -l specs (__isolate_specs $verb)\n"
    "    set -l stop\n"
    "    if test \"$specs[1]\" = --stop-nonopt\n"
    "        set stop --stop-nonopt\n"
    "        set -e specs[1]\n"
    "    end\n"
    "    # not inside a block: argparse changes the argv of the block it stands in\n"
    "    # where the last option waits for its value, any will do\n"
    "    argparse --name=isolate $stop $specs -- $behind 2>/dev/null\n"
    "    or argparse --name=isolate $stop $specs -- $behind x 2>/dev/null\n"
    "    or return\n"
    "    set -l operands (count $argv)\n"
    "    switch $place\n"
    "        case options\n"
    "            test -z \"$stop\" -o $operands -eq 0\n"
    "        case any\n"
    "            true\n"
    "        case command\n"
    "            test $operands -gt 0\n"
    "        case '*'\n"
    "            test $operands -eq $place\n"
    "    end\n"
    "end\n"
    "\n"
    "complete -c isolate -f\n";

static void put_verbs(FILE *out)
{
    (void)fputs("function __isolate_verbs\n    printf '%s\\n'", out);
    for (const struct verb *verb = verbs; verb->name; verb++)
        if (!strchr(verb->name, ' '))
            (void)fprintf(out, " %s", verb->name);
    for (const struct verb_group *group = verb_groups; group->name; group++)
        (void)fprintf(out, " %s", group->name);
    (void)fputs("\nend\n\n", out);
}

/* A choice for the first word, or for the one behind `isolate FIRST`. */
static void put_choice(FILE *out, const char *name, const char *help)
{
    const char *space = strchr(name, ' ');
    if (space)
        (void)fprintf(out,
                      "complete -c isolate -n 'test (commandline -opc | string join \" \") = "
                      "\"isolate %.*s\"' -a %s -d ",
                      (int)(space - name), name, space + 1);
    else
        (void)fprintf(
            out, "complete -c isolate -n 'test (count (commandline -opc)) -eq 1' -a %s -d ",
            name);
    put_quoted(out, help);
    (void)fputc('\n', out);
}

void generate_fish(FILE *out)
{
    (void)fputs("# SPDX-License-Identifier: Apache-2.0\n"
                "# fish completion for isolate(1), made from its table of options\n\n",
                out);
    put_verbs(out);
    put_specs(out);
    (void)fputs(body, out);
    for (const struct verb_group *group = verb_groups; group->name; group++)
        put_choice(out, group->name, group->help);
    for (const struct verb *verb = verbs; verb->name; verb++)
        put_choice(out, verb->name, verb->help);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        for (const struct option *option = verb->options; option->id; option++)
            put_option(out, verb, option);
        put_operands(out, verb);
    }
}
