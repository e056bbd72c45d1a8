/* SPDX-License-Identifier: Apache-2.0 */
/* What bwrap is executed with for an ordinary user, who runs on a directory with rights of its
 * own and without isolated. Pure. Source: bwrap(1), version 0.8. */
#pragma once

#include "client/display.h"
#include "client/original.h"

#include <stddef.h>

#define USER_BWRAP_FILTER_FD 12 /* the first, one for each program of the filter */
#define USER_BWRAP_ARGS_MAX  (4 * ORIGINAL_MANY * 2 + 192)

/* fds that it inherits: the contents of the display's secrets, one each, and what is to stay
 * open as long as the sandbox is there. */
#define USER_BWRAP_SECRET_FD   20
#define USER_BWRAP_KEEPER_FD   24
#define USER_BWRAP_DISPLAY_ENV 8

struct user_bwrap {
    const struct original *original;
    const char *hostname; /* "": the machine's */
    const char *workdir;  /* absolute */
    const char *terminal; /* TERM; NULL: standard input is none */
    bool has_home;        /* a /home to hide */
    bool is_mapped;       /* it is executed in a user namespace already, as its root: */
    int userns_fd;
    unsigned n_filters;
    /* the two halves of each -d and -v */
    const char *halves[2 * ORIGINAL_MANY][2];
    const struct display *display;              /* -1 and -2; NULL: none of it */
    char targets[DISPLAY_FILES][160];           /* of its secrets */
    const char *env[USER_BWRAP_DISPLAY_ENV][2]; /* its variables */
    size_t n_env;
};

/* Fills ret, NULL-terminated, without the command; how many there are. Strings are borrowed. */
size_t user_bwrap_argv(const struct user_bwrap *plan,
                       const char *ret[static USER_BWRAP_ARGS_MAX]);
