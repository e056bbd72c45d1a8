/* SPDX-License-Identifier: Apache-2.0 */
/* The content of files, as a btrfs stream brings it. */
#pragma once

#include "image/btrfs_place.h"

struct btrfs_content {
    uint8_t uuid[BTRFS_UUID_SIZE]; /* of the subvolume that is sent */
    char *path;                    /* of the file that is written to; NULL for none */
    int fd;
    uint64_t written; /* bytes that came in the stream, */
    uint64_t copied;  /* and that were copied because blocks could not be shared */
};
#define BTRFS_CONTENT_NONE                                                                     \
    {                                                                                          \
        .fd = -EBADF                                                                           \
    }
/* The file that is open may get another name. */
void btrfs_content_forget(struct btrfs_content *content);

int btrfs_write(struct btrfs_content *content, const struct btrfs_command *command,
                const struct btrfs_place *place, struct error *err) _must_check_;
int btrfs_clone(struct btrfs_content *content, const struct btrfs_command *command,
                const struct btrfs_place *place, struct error *err) _must_check_;
int btrfs_truncate(struct btrfs_content *content, const struct btrfs_command *command,
                   const struct btrfs_place *place, struct error *err) _must_check_;
