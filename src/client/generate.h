/* SPDX-License-Identifier: Apache-2.0 */
/* What is made of the table of options for others to read: the option sections of the man pages
 * and the completions of three shells. Pure, but for the FILE that is written to; a failure to
 * write is left in ferror(out). */
#pragma once

#include "client/options.h"

#include <stdbool.h>
#include <stdio.h>

/* The verbs of a group with their options, in the syntax of scdoc(5). group is the first word
 * of two-word verbs ("template"), or NULL for all verbs of one word. */
void generate_man(const char *group, FILE *out);

/* Completion scripts. They ask `isolate __complete templates|sandboxes|storages` for live
 * names, one a line, and take its failure for "none". */
void generate_bash(FILE *out);
void generate_zsh(FILE *out);
void generate_fish(FILE *out);

/* The verb `completion`, whole; argv is what stands behind it. Returns the exit status. */
int completion_main(int argc, char **argv);

/* For the three scripts: what an operand is, read from the verb's synopsis. */
enum operand {
    OPERAND_NONE,
    OPERAND_TEMPLATE,
    OPERAND_ROOT, /* a template, a directory or @host */
    OPERAND_SANDBOX,
    OPERAND_STORAGE,
    OPERAND_VERB,
    OPERAND_SHELL,
};
enum operand generate_operand(const struct verb *verb, int index);

/* How many operands can be completed, 0 to 2, and whether the first repeats without end. */
int generate_operand_count(const struct verb *verb);
bool generate_operand_repeats(const struct verb *verb);

bool generate_may_repeat(enum option_id id);

/* "template create" as "template_create", for the name of a shell function. */
void generate_identifier(FILE *out, const char *name);
