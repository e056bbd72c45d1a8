/* SPDX-License-Identifier: Apache-2.0 */
/* File systems in user space. Needs root. Source: Documentation/filesystems/fuse/fuse.rst. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stdint.h>

/* The file system of a server: who mounted it, and the minor number of its files' st_dev. */
struct fuse_mount {
    uint32_t uid;
    uint32_t minor;
};

/* Aborts those that is_theirs is true for: whoever waits for their servers goes on, with an
 * error, and nobody can be made to wait for them again. How many; also 0 where the kernel has
 * no FUSE. -errno. Takes a time that grows with all that are mounted. */
int fuse_abort(bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
               const void *data);
/* All connections of the machine's, in a mount of fusectl that is ours alone: perhaps nobody
 * else has one. fd; -ENODEV where the kernel has no FUSE; -errno. */
int fuse_open_connections(void) _must_check_;
/* As fuse_abort, the one of that minor number among these, if there are any: 1 or 0. */
int fuse_abort_one(int connections_fd, uint32_t minor,
                   bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
                   const void *data);
/* st_dev of a file that is open, without asking its file system. */
int fuse_device_of(int fd, uint32_t *ret_major, uint32_t *ret_minor) _must_check_;
