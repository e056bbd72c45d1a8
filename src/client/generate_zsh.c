/* SPDX-License-Identifier: Apache-2.0 */
/* The completion of zsh: one call of _arguments(zshcompsys) for each verb. Runs at build time
 * and, for `isolate completion`, as the caller. Input is the table only. */
#include "base/text.h"
#include "client/generate.h"

/* Inside '…' of the shell and […] or :…: of _arguments. */
static void put_spec(FILE *out, const char *text)
{
    for (; *text; text++) {
        if (strchr("[]:\\", *text))
            (void)fputc('\\', out);
        if (*text == '\'')
            (void)fputs("'\\''", out);
        else
            (void)fputc(*text, out);
    }
}

/* The choices of an option; a word that ends in ':' goes on with a path. */
static void put_words(FILE *out, const char *words)
{
    bool paths = strchr(words, ':') != NULL;
    if (!paths) {
        (void)fprintf(out, "(%s)", words);
        return;
    }
    (void)fputs("_isolate_source ", out);
    put_spec(out, words);
}

static void put_value(FILE *out, const struct option *option)
{
    (void)fputc(':', out);
    put_spec(out, option->argument);
    (void)fputc(':', out);
    switch (option->complete) {
    case COMPLETE_FILE:
        (void)fputs("_files", out);
        break;
    case COMPLETE_DIR:
        (void)fputs("_files -/", out);
        break;
    case COMPLETE_WORDS:
        put_words(out, option->words);
        break;
    case COMPLETE_TEMPLATE:
        (void)fputs("_isolate_templates", out);
        break;
    case COMPLETE_NONE:
        (void)fputc(' ', out);
        break;
    }
}

static void put_option(FILE *out, const struct option *option)
{
    const char *equals = option->argument ? "=" : "";
    (void)fputs("        ", out);
    if (generate_may_repeat(option->id))
        (void)fputs("'*'", out);
    else if (option->letter)
        (void)fprintf(out, "'(-%c --%s)'", option->letter, option->name);
    if (option->letter)
        (void)fprintf(out, "{-%c%s,--%s%s}'[", option->letter, option->argument ? "+" : "",
                      option->name, equals);
    else
        (void)fprintf(out, "'--%s%s[", option->name, equals);
    put_spec(out, option->help);
    (void)fputc(']', out);
    if (option->argument)
        put_value(out, option);
    (void)fputs("' \\\n", out);
}

static void put_operands(FILE *out, const struct verb *verb)
{
    static const char *const actions[] = {
        [OPERAND_NONE] = " : ",
        [OPERAND_TEMPLATE] = "template:_isolate_templates",
        [OPERAND_ROOT] = "template:_isolate_roots",
        [OPERAND_SANDBOX] = "sandbox:_isolate_sandboxes",
        [OPERAND_STORAGE] = "storage:_isolate_storages",
        [OPERAND_VERB] = "verb:_isolate_verbs",
        [OPERAND_SHELL] = "shell:(bash zsh fish)",
    };
    int n = generate_operand_count(verb);
    if (generate_operand_repeats(verb))
        (void)fprintf(out, "        '*:%s'\n", actions[generate_operand(verb, 0)]);
    else if (verb->stops_at_operand)
        (void)fprintf(out, "        '1:%s' '*::command:_normal'\n",
                      actions[generate_operand(verb, 0)]);
    else if (n == 2)
        (void)fprintf(out, "        '1:%s' '2:%s'\n", actions[generate_operand(verb, 0)],
                      actions[generate_operand(verb, 1)]);
    else
        (void)fprintf(out, "        '1:%s'\n", actions[generate_operand(verb, 0)]);
}

static void put_verb(FILE *out, const struct verb *verb)
{
    (void)fputs("_isolate_verb_", out);
    generate_identifier(out, verb->name);
    (void)fprintf(out, "() {\n    _arguments -s -S%s \\\n",
                  verb->stops_at_operand ? " -A '-*'" : "");
    for (const struct option *option = verb->options; option->id; option++)
        put_option(out, option);
    if (verb->max_operands != 0)
        put_operands(out, verb);
    else
        (void)fputs("        && return\n", out);
    (void)fputs("}\n\n", out);
}

static void put_choice(FILE *out, const char *name, const char *help)
{
    (void)fprintf(out, "        '%s:", name);
    put_spec(out, help);
    (void)fputs("'\n", out);
}

/* The verbs of a group; NULL: the groups, and the verbs of one word. */
static void put_choices(FILE *out, const struct verb_group *of)
{
    (void)fprintf(out, "_isolate_%s%sverbs() {\n    local -a verbs=(\n", of ? of->name : "",
                  of ? "_" : "");
    for (const struct verb_group *group = verb_groups; !of && group->name; group++)
        put_choice(out, group->name, group->help);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        const char *name = of                        ? verb_name_in(of, verb)
                           : strchr(verb->name, ' ') ? NULL
                                                     : verb->name;
        if (name)
            put_choice(out, name, verb->help);
    }
    (void)fputs("    )\n    _describe -t verbs verb verbs\n}\n\n", out);
}

static const char body[] =
    "_isolate_templates() {\n"
    "    local -a names\n"
    "    names=(${(f)\"$(isolate __complete templates 2>/dev/null)\"})\n"
    "    _wanted templates expl template compadd -a names\n"
    "}\n"
    "\n"
    "_isolate_sandboxes() {\n"
    "    local -a names\n"
    "    names=(${(f)\"$(isolate __complete sandboxes 2>/dev/null)\"})\n"
    "    _wanted sandboxes expl sandbox compadd -a names\n"
    "}\n"
    "\n"
    "_isolate_storages() {\n"
    "    local -a names\n"
    "    names=(${(f)\"$(isolate __complete storages 2>/dev/null)\"})\n"
    "    _wanted storages expl storage compadd -a names\n"
    "}\n"
    "\n"
    "_isolate_roots() {\n"
    "    if [[ $PREFIX == [./]* ]]; then\n"
    "        _files -/\n"
    "    else\n"
    "        _alternative 'templates:template:_isolate_templates' \\\n"
    "            'roots:root of this machine:(@host)'\n"
    "    fi\n"
    "}\n"
    "\n"
    "# Words of which those that end in ':' are followed by a path.\n"
    "_isolate_source() {\n"
    "    local -a words plain prefixes\n"
    "    local i expl\n"
    "    for (( i = 1; i <= $#; i++ )); do\n"
    "        [[ ${argv[i]} == -* ]] && continue\n"
    "        [[ ${argv[i]} == *: ]] && prefixes+=(${argv[i]}) || plain+=(${argv[i]})\n"
    "    done\n"
    "    for i in $prefixes; do\n"
    "        if compset -P \"${i}\"; then\n"
    "            _files\n"
    "            return\n"
    "        fi\n"
    "    done\n"
    "    _wanted sources expl source compadd -a plain\n"
    "    _wanted sources expl source compadd -S '' -a prefixes\n"
    "}\n"
    "\n"
    "_isolate() {\n"
    "    local expl curcontext=$curcontext\n"
    "    if (( CURRENT == 2 )); then\n"
    "        _isolate_verbs\n"
    "        return\n"
    "    fi\n"
    "    local verb=$words[2]\n"
    "    if (( $+functions[_isolate_${verb}_verbs] )); then\n"
    "        if (( CURRENT == 3 )); then\n"
    "            _isolate_${verb}_verbs\n"
    "            return\n"
    "        fi\n"
    "        verb=${verb}_$words[3]\n"
    "        shift words\n"
    "        (( CURRENT-- ))\n"
    "    fi\n"
    "    shift words\n"
    "    (( CURRENT-- ))\n"
    "    (( $+functions[_isolate_verb_$verb] )) && _isolate_verb_$verb\n"
    "}\n"
    "\n"
    "# loaded by compinit from a file of fpath, or by eval\n"
    "if [[ $funcstack[1] == _isolate ]]; then\n"
    "    _isolate \"$@\"\n"
    "else\n"
    "    compdef _isolate isolate\n"
    "fi\n";

void generate_zsh(FILE *out)
{
    (void)fputs("#compdef isolate\n"
                "# SPDX-License-Identifier: Apache-2.0\n"
                "# zsh completion for isolate(1), made from its table of options\n\n",
                out);
    put_choices(out, NULL);
    for (const struct verb_group *group = verb_groups; group->name; group++)
        put_choices(out, group);
    for (const struct verb *verb = verbs; verb->name; verb++)
        put_verb(out, verb);
    (void)fputs(body, out);
}
