/* SPDX-License-Identifier: Apache-2.0 */
/* One hook: `sh -c COMMAND` as the caller. Its standard input is empty and its standard output
 * is standard error, because both are the command's; it has no terminal. Its processes end when
 * it is interrupted or this process dies; what it leaves behind when it ends by itself stays.
 */
#pragma once

#include "base/error.h"

#include <limits.h>
#include <signal.h>
#include <stdbool.h>
#include <stddef.h>

struct hook {
    const char *when;    /* "pre", "post" */
    const char *command; /* for sh */
    /* ROOTFS: a path by this fd in /proc (borrowed), or root, or "" */
    int view_fd;
    char root[PATH_MAX];
    /* other variables, "": not set */
    char id[128];
    char name[128];
    char template_name[PATH_MAX];
    int status; /* of the command; -1: it has not run */

    int signal_fd;        /* a signalfd of all that could end it */
    int peer_fd;          /* whose end ends the hook, or -EBADF */
    const sigset_t *mask; /* its signal mask */
};

struct hook_end {
    bool ok;            /* with status 0, and nothing else came in between */
    int wait_status;    /* as waitpid(2) has it; -1: it was never started */
    int problem;        /* -errno: why */
    int interrupted_by; /* the first signal that ends; 0: none */
    bool lost;          /* peer_fd has ended */
};

/* Waits for its end. Signals that end go to the hook and its children, which are killed where
 * they do not obey, or at a second one. */
struct hook_end hook_run(const struct hook *hook);

/* "ended with status 1", and the like. */
void hook_end_text(const struct hook_end *end, char *out, size_t size);

/* INT, TERM, HUP, QUIT. */
bool hook_signal_ends(int number);
