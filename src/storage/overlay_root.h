/* SPDX-License-Identifier: Apache-2.0 */
/* The root directory of an overlay is its upper's, whatever is below: so that is made like the
 * root of the layer below. Runs in isolated as root; attributes may be a sandbox's, and are
 * only passed on to the kernel. */
#pragma once

#include "sys/xattrs.h"

#include <sys/stat.h>

struct overlay_root {
    struct stat st;
    struct xattrs xattrs;
};
#define _cleanup_overlay_root_ _cleanup_(overlay_root_clear)
void overlay_root_clear(struct overlay_root *root);

/* What the directory is like (O_PATH will do). -errno. */
int overlay_root_read(int fd, struct overlay_root *ret) _must_check_;
/* The ids of a tree that is stored with `stored` on, as one that is stored with first_id on has
 * them. -errno. */
int overlay_root_shift(struct overlay_root *root, uint32_t stored,
                       uint32_t first_id) _must_check_;
/* Makes a directory so. What its file system cannot keep is left out where overlayfs leaves it
 * out, too, when it copies a file up: never an ACL or what is the kernel's. -errno. */
int overlay_root_apply(const struct overlay_root *root, int upper_fd) _must_check_;
