/* SPDX-License-Identifier: Apache-2.0 */
/* The one table of verbs and options: the parser, --help, the man pages and the shells'
 * completions are made from it. Pure. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* How an option's argument is completed in the shells. */
enum complete { COMPLETE_NONE, COMPLETE_FILE, COMPLETE_DIR, COMPLETE_WORDS, COMPLETE_TEMPLATE };

enum option_id {
    OPTION_END = 0,
    OPTION_HELP,
    OPTION_INTERACTIVE,
    OPTION_TTY,
    OPTION_BOOT,
    OPTION_ENTRYPOINT,
    OPTION_ENV,
    OPTION_ENV_FILE,
    OPTION_BIND,
    OPTION_HERE,
    OPTION_TMPFS,
    OPTION_WORKDIR,
    OPTION_USER,
    OPTION_OWNER,
    OPTION_FIRST_ID,
    OPTION_HOSTNAME,
    OPTION_NETWORK,
    OPTION_PUBLISH,
    OPTION_DEVICE,
    OPTION_GPU,
    OPTION_X11,
    OPTION_X11_TRUSTED,
    OPTION_WAYLAND,
    OPTION_AUDIO,
    OPTION_READ_ONLY,
    OPTION_TIMEOUT,
    OPTION_CPU_TIME,
    OPTION_MEMORY,
    OPTION_SWAP,
    OPTION_CPUS,
    OPTION_PIDS,
    OPTION_DISK,
    OPTION_CPUSET,
    OPTION_IO_WEIGHT,
    OPTION_ULIMIT,
    OPTION_CAP_ADD,
    OPTION_CAP_DROP,
    OPTION_SECCOMP,
    OPTION_PERSONALITY,
    OPTION_NAME,
    OPTION_KEEP,
    OPTION_RECEIPT,
    OPTION_PRE_HOOK,
    OPTION_POST_HOOK,
    OPTION_QUIET,
    OPTION_ENGINE,
    OPTION_STORAGE,
    OPTION_ALL,
    OPTION_JSON,
    OPTION_FROM,
    OPTION_TO,
    OPTION_SINCE,
    OPTION_NATIVE,
    OPTION_HASH,
    OPTION_KEPT,
    OPTION_FOR,
    OPTION_DETACH,
    OPTION_DETACH_KEYS,
    OPTION_NO_STDIN,
    OPTION_SIGNAL,
    OPTION_SECONDS,
    OPTION_FOLLOW,
    OPTION_FILTER,
    OPTION_EXPLAIN,
    OPTION_SPEC,
};

struct option {
    enum option_id id;
    char letter;          /* 0: none */
    const char *name;     /* without the two dashes */
    const char *argument; /* what its value is called; NULL: it takes none */
    const char *help;     /* one line */
    const char *more;     /* further sentences for the man page, or NULL */
    enum complete complete;
    const char *words; /* for COMPLETE_WORDS, separated by spaces */
};

struct verb {
    const char *name; /* "run", "template create" */
    const char *synopsis;
    const char *help;
    const struct option *options; /* ended by OPTION_END */
    enum complete operand;        /* of the first operand */
    bool stops_at_operand;        /* what follows the first operand is not ours */
    int min_operands;
    int max_operands; /* -1: any number */
};

/* All verbs, ended by a NULL name. */
extern const struct verb verbs[];

/* The first words of verbs of two that are no verbs themselves, ended by a NULL name. */
struct verb_group {
    const char *name;
    const char *help;
};
extern const struct verb_group verb_groups[];

/* NULL where there is none of that name. */
const struct verb_group *verb_group_named(const char *name);
/* What a verb is called within the group, or NULL where it is not of it. */
const char *verb_name_in(const struct verb_group *group, const struct verb *verb);

/* The verb that the arguments begin with (one or two words): how many words it is, 0 where
 * there is none. */
int verb_find(int argc, char **argv, const struct verb **ret);
const struct verb *verb_named(const char *name);

/* Called for each option; value is NULL for those that take none. */
typedef int (*option_handler)(void *data, enum option_id id, const char *value,
                              struct error *err);

struct option_call {
    const struct verb *verb;
    bool any_operands; /* how many there must be is the caller's to check */
    option_handler handler;
    void *data;
};

/* Parses the arguments behind the verb (argv[0] is the first of them). Options may stand
 * between operands unless the verb stops at its first one; "--" ends them. The operands are
 * moved to the end of argv, in order, and *ret_first is the index of the first. An unknown
 * option is an error that names the nearest right one. Returns 1 where --help was asked for. */
int options_parse(const struct option_call *call, int argc, char **argv, int *ret_first,
                  struct error *err) _must_check_;

/* options_foreign.c: what an option of docker's, bwrap's or nspawn's (without its dashes) is
 * called here, or why there is none; NULL: it is not known. */
const char *option_known_elsewhere(const char *verb, const char *word);

/* Whether so many operands are what the verb takes. */
int options_check_operands(const struct verb *verb, int n, struct error *err) _must_check_;

/* Prints the help of a verb, or of all, to stdout. */
void options_help(const struct verb *verb);
void options_help_all(void);
