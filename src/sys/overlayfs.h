/* SPDX-License-Identifier: Apache-2.0 */
/* An overlay of detached, perhaps id-mapped layers, on every kernel since 6.1. Needs
 * CAP_SYS_ADMIN over the mount namespace's owner. Source:
 * Documentation/filesystems/overlayfs.rst. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

struct overlayfs {
    const int
        *lowers; /* detached mounts (mount_open_tree), bottom first; used up by the call */
    size_t n;
    int parent_fd;        /* of the directories "upper" and "work"; -EBADF: all is read-only */
    bool parent_is_mount; /* a detached one, used up as lowers are */
    uid_t writer; /* what is written into it belongs to this user until it has its owner */
    gid_t writer_group;
    int parent_userns_fd; /* id-maps upper and work, to ids of which writer's are some; 0: none
                           */
    bool no_sync;         /* nothing of upper need survive a crash (option "volatile") */
};

/* A new detached mount with these MOUNT_ATTR_*: an fd, -ENODEV where the kernel has no
 * overlayfs, other -errno. May be read-only although parent_fd was given: overlayfs does that,
 * with one line in the kernel's log, where it cannot use the work directory. Before Linux 6.15
 * this starts a child for a moment. Blocks only for that. */
int overlayfs_mount(const struct overlayfs *overlay, uint64_t attributes) _must_check_;
