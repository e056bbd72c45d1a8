/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces: id maps, and namespaces that exist only to id-map a mount. Needs CAP_SETUID,
 * CAP_SETGID and CAP_SYS_ADMIN in the parent user namespace. Source: user_namespaces(7). */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>

#define USERNS_RANGE 65536U /* ids of one sandbox */

/* One line of a map: `count` ids from `inside` are `outside`, seen from the parent. */
struct id_map {
    uint32_t inside;
    uint32_t outside;
    uint32_t count;
};

/* The most lines that the kernel takes (4.15). */
#define ID_MAP_MAX 340

/* Writes both maps of a process that has just been made in a new user namespace. */
int userns_write_maps(pid_t pid, const struct id_map *uids, size_t n_uids,
                      const struct id_map *gids, size_t n_gids) _must_check_;

/* Opens the user namespace of a process. fd or -errno. */
int userns_open(pid_t pid) _must_check_;

/* Whose the user namespace is: the outermost of those that it lies in and this process does
 * not. 1; 0 where it is this process's own, or not below it; -errno. */
int userns_owner(int userns_fd, uid_t *ret) _must_check_;

/* process_clone into a new user namespace, with flags, that belongs to the host's uid `owner`
 * and not to root: what is used in it the kernel counts for its owner, too, up to the limits of
 * one user (inotify instances, queued signals, message queues), and root's are everybody's. No
 * process of the host's user namespace may run as that uid: it would have all capabilities in
 * there. Until the child has taken a mapped uid it runs as the owner. */
pid_t userns_clone(uint64_t flags, uint32_t owner, int cgroup_fd, int *ret_pidfd) _must_check_;

/* A resource limit of a process in there. Root of a container may have no CAP_SYS_RESOURCE,
 * which that asks for: the owner has it in its namespace. */
int userns_get_limit(pid_t pid, uint32_t owner, uint32_t resource,
                     struct rlimit *ret) _must_check_;

/* Makes a user namespace whose maps are written by map(pid, data), for a process in it that
 * waits; an fd, or what map returned. Needs no privilege but map's. */
int userns_new_by(int (*map)(pid_t pid, void *data), void *data) _must_check_;

/* Makes a user namespace with these maps and returns an fd that keeps it alive; no process
 * stays. Blocks for as long as a fork takes. */
int userns_new(const struct id_map *uids, size_t n_uids, const struct id_map *gids,
               size_t n_gids) _must_check_;
