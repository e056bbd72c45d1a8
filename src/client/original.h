/* SPDX-License-Identifier: Apache-2.0 */
/* The original's command line, as far as it starts commands:
 *   isolate [-e ENGINE] (-t DIR | -z DATASET) [OPTIONS] COMMAND [ARG…] */
#pragma once

#include "base/error.h"

#include <stdbool.h>

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

/* Runs the command: the exit status. */
int original_run(int argc, char **argv);
