/* SPDX-License-Identifier: Apache-2.0 */
/* Where a command of a btrfs stream does something. Paths are hostile: none leads out of the
 * tree or through a symlink. */
#pragma once

#include "image/btrfs_stream.h"

/* "." in the root for the root itself. */
struct btrfs_place {
    int root_fd; /* borrowed */
    char *path;  /* normalized */
    const char *name;
    int parent_fd; /* O_PATH */
};
#define BTRFS_PLACE_NONE                                                                       \
    {                                                                                          \
        .name = ".", .parent_fd = -EBADF                                                       \
    }
#define _cleanup_btrfs_place_ _cleanup_(btrfs_place_clear)
void btrfs_place_clear(struct btrfs_place *place);
int btrfs_place_find(int root_fd, const struct btrfs_command *command,
                     enum btrfs_attribute_type type, struct btrfs_place *ret,
                     struct error *err) _must_check_;

/* What a system call returned there: 0, or where that is negative, errno as the error. */
int btrfs_done(const struct btrfs_place *place, int result, struct error *err) _must_check_;
/* -EBADMSG with ERROR_INVALID. */
int btrfs_damaged(const char *why, struct error *err);
