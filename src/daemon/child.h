/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of isolate's own that isolated has running beside it: decoders, the nursery, the
 * builders, and networks of sandboxes. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

enum { CHILD_LINK_FD = 3, CHILD_SECOND_FD = 4 }; /* what the program finds open, and no other */

struct child_program {
    const char *what; /* for errors */
    char *const *argv;
    char *const *environment;
    const char *path;    /* NULL: program_fd */
    int program_fd;      /* the program itself */
    int second_fd;       /* -EBADF: none */
    uint64_t namespaces; /* new ones, CLONE_NEW* */
    bool outlives;       /* it goes on when isolated ends, ... */
    int cgroup_fd;       /* ... and so is in this cgroup, which somebody else ends */
    /* In the child, which is single-threaded and a copy of isolated, with all of its fds: what
     * else it has to give up. May be NULL. 0 or -errno. */
    int (*enter)(const void *data);
    const void *data;
};

/* Starts it with a SOCK_SEQPACKET to isolated at CHILD_LINK_FD. It dies with isolated,
 * unless it outlives it, and has no signal blocked. All three that are returned are the
 * caller's. */
int child_start(const struct child_program *program, pid_t *ret_pid, int *ret_pidfd,
                int *ret_link_fd, struct error *err) _must_check_;
