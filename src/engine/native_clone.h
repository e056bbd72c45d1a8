/* SPDX-License-Identifier: Apache-2.0 */
/* The clone of a native sandbox: its namespaces and its init in them. The nursery does it for a
 * resident isolated, a one-shot does it itself. Needs root. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

struct native_order {
    uint32_t first_id; /* host id of the sandbox's 0 */
    bool host_network;
    bool host_ids; /* no user namespace: its root is the machine's */
    bool sibling;  /* the child is our parent's, not ours */
    int cgroup_fd; /* its leaf; all fds are borrowed */
    int park_fd;   /* the end of the park socket that init gets */
    int init_fd;   /* isolate-init */
    int null_fd;   /* /dev/null */
};

struct native_child {
    pid_t pid;
    int pidfd;
    int userns_fd; /* -EBADF with host_ids */
};

/* CLONE_NEW*: the namespaces of a sandbox. Pure. */
uint64_t native_namespaces(bool host_network, bool host_ids);

/* Clones, maps the ids. The child waits for one byte on its park socket before it executes
 * init. On failure ret holds what exists already, which the caller ends. */
int native_clone(const struct native_order *order, struct native_child *ret,
                 struct error *err) _must_check_;

/* The nursery's packets. Asked with fds {cgroup, park, init, null}, id the first id and value
 * NURSERY_*; answered with id the pid and fds {pidfd, user namespace}, or value -errno and a
 * sentence as payload. */
#define NURSERY_CLONE        1
#define NURSERY_HOST_NETWORK 1
#define NURSERY_HOST_IDS     2
enum nursery_fd {
    NURSERY_FD_CGROUP,
    NURSERY_FD_PARK,
    NURSERY_FD_INIT,
    NURSERY_FD_NULL,
    _NURSERY_FDS
};
