/* SPDX-License-Identifier: Apache-2.0 */
/* What bwrap is executed with for an ordinary user, who runs on a directory with rights of its
 * own and without isolated. Pure. Source: bwrap(1), version 0.8. */
#pragma once

#include "client/original.h"

#include <stddef.h>

#define USER_BWRAP_FILTER_FD 12 /* the first, one for each program of the filter */
#define USER_BWRAP_ARGS_MAX  (4 * ORIGINAL_MANY * 2 + 128)

struct user_bwrap {
    const struct original *original;
    const char *hostname; /* "": the machine's */
    const char *workdir;  /* absolute */
    bool has_home;        /* a /home to hide */
    unsigned n_filters;
    /* the two halves of each -d and -v */
    const char *halves[2 * ORIGINAL_MANY][2];
};

/* Fills ret, NULL-terminated, without the command; how many there are. Strings are borrowed. */
size_t user_bwrap_argv(const struct user_bwrap *plan,
                       const char *ret[static USER_BWRAP_ARGS_MAX]);
