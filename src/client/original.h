/* SPDX-License-Identifier: Apache-2.0 */
/* The original's command line, as far as it starts commands:
 *   isolate [-e ENGINE] (-t DIR | -z DATASET) [OPTIONS] COMMAND [ARG…] */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define ORIGINAL_REFRESH "isolate -r DATASET [-f] [-s] [NUM]"
#define ORIGINAL_RUN     "isolate [-e ENGINE] (-t DIR | -z DATASET) [OPTIONS] COMMAND [ARG…]"

/* How often an option may be given. */
#define ORIGINAL_MANY 128

/* What it says. All strings are borrowed from argv. */
struct original {
    const char *engine;
    const char *directory; /* -t */
    const char *dataset;   /* -z */
    const char *workdir;
    const char *uid_base;
    const char *gid_base;
    const char *binds[ORIGINAL_MANY]; /* HOST:TARGET, as they were given */
    int n_binds;
    const char *env[ORIGINAL_MANY]; /* NAME:VALUE */
    int n_env;
    bool x11;
    bool audio;
    bool network;
    bool ignore_interrupts;
    bool trace;
    bool quiet;
    char *const *command; /* NULL-terminated */
    int n_command;
};

/* original_parse.c: from argv behind "isolate". */
int original_parse(int argc, char **argv, struct original *ret, struct error *err) _must_check_;

/* Lines of progress, green and yellow, on stderr. */
void original_say(const char *text);
void original_warn(const char *text);

/* -x: a line on stderr, of what line holds and the command, NULL-terminated, quoted for a
 * shell. */
void original_trace(struct buffer *line, char *const *command);

/* What the engine bwrap searches for commands there. */
#define ORIGINAL_PATH "/usr/local/bin:/usr/bin:/bin:/usr/sbin"

/* Warns of variables of which nothing comes. */
void original_warn_of_environment(void);

/* The name of the root, as far as letters allow; may be "". */
void original_hostname(const struct original *original, char ret[static 64]);

/* Where the command begins: inside, and / by default. ret has PATH_MAX bytes. */
void original_workdir(const struct original *original, char *ret);

/* -u and -g, each the other's where it is not given; 0: neither. Checked as numbers only. */
int original_id_bases(const struct original *original, uint32_t *ret_uid, uint32_t *ret_gid,
                      struct error *err) _must_check_;

/* PRE_SPAWN_HOOK, or POST_SPAWN_HOOK; NULL: not set, or empty. */
const char *original_hook(bool before);

/* Says what is begun, and does what -i says. */
void original_begin(const struct original *original);

/* Runs the command through isolated: the exit status. */
int original_run(const struct original *original);
