/* SPDX-License-Identifier: Apache-2.0 */
/* The paths of files with several links that a walk has met, so that a later link leads to the
 * first one. Memory only. */
#pragma once

#include "base/error.h"
#include "sys/inodes.h"
#include "sys/walk.h"

struct links {
    struct inode_table inodes;
    char **paths; /* the inode table's value - 1 */
    size_t n;
    size_t capacity;
};

#define _cleanup_links_ _cleanup_(links_clear)
void links_clear(struct links *links);

/* The path under which the same file came before, which stays the links'; NULL where this is
 * the first one, which is remembered. -ENOMEM. */
int links_first(struct links *links, const struct walk_entry *entry,
                const char **ret_path) _must_check_;
