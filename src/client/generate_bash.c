/* SPDX-License-Identifier: Apache-2.0 */
/* The completion of bash: the table as shell functions, then a fixed body that walks the line.
 * Runs at build time and, for `isolate completion`, as the caller. Input is the table only. */
#include "base/text.h"
#include "client/generate.h"

static const char *const operand_words[] = {
    [OPERAND_NONE] = "none",         [OPERAND_TEMPLATE] = "templates", [OPERAND_ROOT] = "roots",
    [OPERAND_SANDBOX] = "sandboxes", [OPERAND_STORAGE] = "storages",   [OPERAND_VERB] = "verbs",
    [OPERAND_SHELL] = "shells",
};

static const char *value_word(const struct option *option)
{
    switch (option->complete) {
    case COMPLETE_FILE:
        return "files";
    case COMPLETE_DIR:
        return "directories";
    case COMPLETE_WORDS:
        return "words";
    case COMPLETE_TEMPLATE:
        return "templates";
    case COMPLETE_NONE:
        break;
    }
    return "none";
}

static void bash_option_names(FILE *out)
{
    (void)fputs("_isolate_options() # VERB\n{\n    case $1 in\n", out);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        (void)fprintf(out, "    '%s') echo '", verb->name);
        for (const struct option *option = verb->options; option->id; option++) {
            if (option->letter)
                (void)fprintf(out, "-%c ", option->letter);
            (void)fprintf(out, "--%s%s", option->name, option[1].id ? " " : "");
        }
        (void)fputs("' ;;\n", out);
    }
    (void)fputs("    esac\n}\n\n", out);
}

static void bash_values(FILE *out)
{
    (void)fputs("# What the value of an option is; nothing where it takes none.\n"
                "_isolate_value() # VERB OPTION\n{\n    case \"$1 $2\" in\n",
                out);
    for (const struct verb *verb = verbs; verb->name; verb++)
        for (const struct option *option = verb->options; option->id; option++) {
            if (!option->argument)
                continue;
            (void)fprintf(out, "    '%s --%s'", verb->name, option->name);
            if (option->letter)
                (void)fprintf(out, " | '%s -%c'", verb->name, option->letter);
            (void)fprintf(out, ") echo '%s%s%s' ;;\n", value_word(option),
                          option->words ? " " : "", option->words ? option->words : "");
        }
    (void)fputs("    esac\n}\n\n", out);
}

static void bash_operands(FILE *out)
{
    (void)fputs("_isolate_operand() # VERB INDEX\n{\n    case \"$1 $2\" in\n", out);
    for (const struct verb *verb = verbs; verb->name; verb++) {
        for (int i = 0; i < generate_operand_count(verb); i++) {
            const char *index = generate_operand_repeats(verb) ? "'*" : i == 0 ? "0'" : "1'";
            (void)fprintf(out, "    '%s %s) echo %s ;;\n", verb->name, index,
                          operand_words[generate_operand(verb, i)]);
        }
        if (verb->stops_at_operand)
            (void)fprintf(out, "    '%s '*) echo command ;;\n", verb->name);
    }
    (void)fputs("    esac\n}\n\n", out);
}

static void bash_verbs(FILE *out)
{
    (void)fputs("_isolate_verbs() # [GROUP]\n{\n    case $1 in\n", out);
    for (const struct verb_group *group = verb_groups; group->name; group++) {
        (void)fprintf(out, "    %s) echo '", group->name);
        for (const struct verb *verb = verbs; verb->name; verb++)
            if (verb_name_in(group, verb))
                (void)fprintf(out, "%s ", verb_name_in(group, verb));
        (void)fputs("' ;;\n", out);
    }
    (void)fputs("    *) echo '", out);
    for (const struct verb_group *group = verb_groups; group->name; group++)
        (void)fprintf(out, "%s ", group->name);
    for (const struct verb *verb = verbs; verb->name; verb++)
        if (!strchr(verb->name, ' '))
            (void)fprintf(out, "%s ", verb->name);
    (void)fputs("' ;;\n    esac\n}\n\n_isolate_groups()\n{\n    echo '", out);
    for (const struct verb_group *group = verb_groups; group->name; group++)
        (void)fprintf(out, "%s ", group->name);
    (void)fputs("'\n}\n\n", out);
}

static const char bash_body[] =
    "# Fills COMPREPLY with the choices of one kind that begin with $cur.\n"
    "_isolate_reply() # KIND [WORD…]\n"
    "{\n"
    "    local kind=$1 choices=''\n"
    "    shift\n"
    "    case $kind in\n"
    "    words) choices=\"$*\" ;;\n"
    "    verbs) choices=$(_isolate_verbs) ;;\n"
    "    shells) choices='bash zsh fish' ;;\n"
    "    templates | roots) choices=$(isolate __complete templates 2>/dev/null) ;;\n"
    "    sandboxes | storages) choices=$(isolate __complete \"$kind\" 2>/dev/null) ;;\n"
    "    esac\n"
    "    [[ $kind == roots ]] && choices+=' @host'\n"
    "    if [[ $kind == roots && $cur == [./]* ]]; then\n"
    "        kind=directories\n"
    "    elif [[ $kind == words && $cur == *:* && \" $choices \" == *\" ${cur%%:*}: \"* ]]; "
    "then\n"
    "        kind=files\n"
    "        cur=${cur#*:} # of a word such as tar: the rest is a path\n"
    "    fi\n"
    "    case $kind in\n"
    "    files | command) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -f -- "
    "\"$cur\") ;;\n"
    "    directories) compopt -o filenames; mapfile -t COMPREPLY < <(compgen -d -- \"$cur\") "
    ";;\n"
    "    none) ;;\n"
    "    *) mapfile -t COMPREPLY < <(compgen -W \"$choices\" -- \"$cur\") ;;\n"
    "    esac\n"
    "    [[ ${#COMPREPLY[@]} -eq 1 && ${COMPREPLY[0]} == *: ]] && compopt -o nospace\n"
    "    return 0\n"
    "}\n"
    "\n"
    "# The option at the end of a word of options that waits for its value, or nothing.\n"
    "_isolate_pending() # VERB WORD\n"
    "{\n"
    "    local i letter\n"
    "    case $2 in\n"
    "    --*=*) ;;\n"
    "    --*) [[ -z $(_isolate_value \"$1\" \"$2\") ]] || printf '%s\\n' \"$2\" ;;\n"
    "    *)\n"
    "        for ((i = 1; i < ${#2}; i++)); do\n"
    "            letter=-${2:i:1}\n"
    "            [[ -n $(_isolate_value \"$1\" \"$letter\") ]] || continue\n"
    "            ((i + 1 < ${#2})) || printf '%s\\n' \"$letter\"\n"
    "            return\n"
    "        done\n"
    "        ;;\n"
    "    esac\n"
    "}\n"
    "\n"
    "# bash cuts words at '=' and ':'; here they are whole again.\n"
    "_isolate_words()\n"
    "{\n"
    "    local i word joined=''\n"
    "    words=()\n"
    "    for ((i = 0; i <= COMP_CWORD; i++)); do\n"
    "        word=${COMP_WORDS[i]}\n"
    "        if ((i > 1)) && [[ -n $joined || $word == +([=:]) ]]; then\n"
    "            words[${#words[@]} - 1]+=$word\n"
    "        else\n"
    "            words+=(\"$word\")\n"
    "        fi\n"
    "        joined=\n"
    "        [[ $word == +([=:]) ]] && joined=1\n"
    "    done\n"
    "}\n"
    "\n"
    "_isolate_arguments() # VERB FIRST\n"
    "{\n"
    "    local verb=$1 pending='' operands=0 ended='' i kind\n"
    "    for ((i = $2; i < ${#words[@]} - 1; i++)); do\n"
    "        if [[ -n $pending ]]; then\n"
    "            pending=\n"
    "        elif [[ -z $ended && ${words[i]} == -- ]]; then\n"
    "            ended=1\n"
    "        elif [[ -z $ended && ${words[i]} == -?* ]]; then\n"
    "            pending=$(_isolate_pending \"$verb\" \"${words[i]}\")\n"
    "        else\n"
    "            ((operands++))\n"
    "            [[ $(_isolate_operand \"$verb\" 1) == command ]] && ended=1\n"
    "        fi\n"
    "    done\n"
    "    if [[ -z $pending && -z $ended && $cur == --*=* ]]; then\n"
    "        pending=${cur%%=*}\n"
    "        cur=${cur#*=}\n"
    "    fi\n"
    "    if [[ -n $pending ]]; then\n"
    "        kind=$(_isolate_value \"$verb\" \"$pending\")\n"
    "    elif [[ -z $ended && $cur == -* ]]; then\n"
    "        kind=\"words $(_isolate_options \"$verb\")\"\n"
    "    else\n"
    "        kind=$(_isolate_operand \"$verb\" \"$operands\")\n"
    "    fi\n"
    "    # shellcheck disable=SC2086 # words of a list\n"
    "    _isolate_reply ${kind:-none}\n"
    "}\n"
    "\n"
    "_isolate()\n"
    "{\n"
    "    local words cur whole breaks='' prefix\n"
    "    COMPREPLY=()\n"
    "    _isolate_words\n"
    "    cur=${words[${#words[@]} - 1]}\n"
    "    whole=$cur\n"
    "    if ((${#words[@]} <= 2)); then\n"
    "        _isolate_reply words \"$(_isolate_verbs)\" --help --version\n"
    "    elif [[ \" $(_isolate_groups)\" != *\" ${words[1]} \"* ]]; then\n"
    "        _isolate_arguments \"${words[1]}\" 2\n"
    "    elif ((${#words[@]} <= 3)); then\n"
    "        _isolate_reply words \"$(_isolate_verbs \"${words[1]}\")\"\n"
    "    else\n"
    "        _isolate_arguments \"${words[1]} ${words[2]}\" 3\n"
    "    fi\n"
    "    # bash replaces only what is behind the last cut, and we may have cut more or less\n"
    "    [[ $COMP_WORDBREAKS == *=* ]] && breaks+='='\n"
    "    [[ $COMP_WORDBREAKS == *:* ]] && breaks+=':'\n"
    "    prefix=${whole%\"$cur\"}\n"
    "    COMPREPLY=(\"${COMPREPLY[@]/#/\"$prefix\"}\")\n"
    "    [[ -n $breaks ]] && prefix=${whole%\"${whole##*[\"$breaks\"]}\"} || prefix=\n"
    "    COMPREPLY=(\"${COMPREPLY[@]#\"$prefix\"}\")\n"
    "}\n"
    "complete -F _isolate isolate\n";

void generate_bash(FILE *out)
{
    (void)fputs("# SPDX-License-Identifier: Apache-2.0\n"
                "# bash completion for isolate(1), made from its table of options\n"
                "# shellcheck shell=bash\n\n",
                out);
    bash_verbs(out);
    bash_option_names(out);
    bash_values(out);
    bash_operands(out);
    (void)fputs(bash_body, out);
}
