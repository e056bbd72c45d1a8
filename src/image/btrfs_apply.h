/* SPDX-License-Identifier: Apache-2.0 */
/* Makes of a tree what a btrfs stream says. Runs in a confined child of isolate-image as root;
 * the stream is hostile, so that no path of it leads out of the tree or through a symlink. The
 * kernel's own checks are all that its values meet: what comes of them is compared with the
 * hash of what was sent. */
#pragma once

#include "image/btrfs_content.h"
#include "image/sink.h"

struct btrfs_apply {
    struct sink sink; /* takes the stream */
    struct btrfs_stream stream;
    int root_fd; /* borrowed: what is sent, or a copy of what that follows */
    bool begun;
    bool ended;
    struct timespec times[2]; /* of the root, for the end: all that is new passes through it */
    struct btrfs_content content;
};

#define _cleanup_btrfs_apply_ _cleanup_(btrfs_apply_clear)
void btrfs_apply_begin(struct btrfs_apply *apply, int root_fd);
void btrfs_apply_clear(struct btrfs_apply *apply);
/* The stream is over: whether it came to its end. */
int btrfs_apply_end(const struct btrfs_apply *apply, struct error *err) _must_check_;
