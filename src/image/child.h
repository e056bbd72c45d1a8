/* SPDX-License-Identifier: Apache-2.0 */
/* Children of isolate-image: what is hostile is read in them, and their only word is one error
 * object. The parent has no other thread. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

struct progress;

struct image_child {
    pid_t pid;
    int error_fd; /* the parent's end: what the child says; the child's: where it says it */
};

/* Forks. In the child ret->pid is 0; it ends with image_child_exit. `what` names the work in
 * errors. */
int image_child_fork(const char *what, struct image_child *ret, struct error *err) _must_check_;

/* The end of a child: err goes to the parent where result < 0. */
_Noreturn void image_child_exit(const struct image_child *child, int result,
                                const struct error *err);

/* Waits for the end of a child, drawing progress (may be NULL): 0, or the error that it told.
 */
int image_child_wait(struct image_child *child, const char *what, struct progress *progress,
                     struct error *err) _must_check_;
/* Kills it, where it still runs, and forgets it. */
void image_child_kill(struct image_child *child);
