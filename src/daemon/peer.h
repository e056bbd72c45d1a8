/* SPDX-License-Identifier: Apache-2.0 */
/* Who is at the other end of a connected socket, by what the kernel says. Nothing here waits
 * for the peer. Source: unix(7), user_namespaces(7). */
#pragma once

#include "base/error.h"
#include "spec/start.h"

#include <stdbool.h>
#include <sys/types.h>

struct peer {
    uid_t uid;
    gid_t gid;
    gid_t groups[START_GROUPS];
    size_t n_groups;
};

int peer_read(int fd, struct peer *ret, struct error *err) _must_check_;
/* Whether the kernel has noted it as one of that group. */
bool peer_is_in(const struct peer *peer, gid_t gid);
/* A pidfd of the process that connected; -ESRCH when it is gone, -errno. */
int peer_pidfd(int fd) _must_check_;
/* Whose the user namespace is that this process is in: 1 and its owner (userns_owner); 0 where
 * it is in ours. -EPERM where the process is not uid, itself: who connects can borrow the ids
 * of a process in another namespace (IORING_REGISTER_PERSONALITY). -ESRCH when it is gone,
 * -errno.
 */
int peer_owner(int fd, uid_t uid, uid_t *ret) _must_check_;
