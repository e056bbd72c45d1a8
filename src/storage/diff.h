/* SPDX-License-Identifier: Apache-2.0 */
/* What changed between two trees. Needs root; what sandboxes left may be hostile. Blocks for as
 * long as the walk takes. */
#pragma once

#include "storage/storage_types.h"

/* Both must show ids from 0: through id-mapped mounts where they are stored with others. */
struct diff_trees {
    int now; /* root directories, O_PATH */
    int was;
    /* `now` is an overlay's upper: only what was changed, with overlayfs's marks for what was
     * deleted, replaced or renamed. Else both are whole trees; where `now` began as a
     * copy-on-write copy of `was`, most of it is not read. */
    bool is_overlay;
    /* Times of directories and links count, too, and how many links a file has: a tree to which
     * all of it was applied has the same hash. */
    bool is_exact;
};
void diff_trees_clear(struct diff_trees *trees);
#define _cleanup_diff_trees_ _cleanup_(diff_trees_clear)

/* Calls back for each difference, but for what still is as isolate provided it (may be NULL).
 * 0, the callback's non-zero return, or -errno. */
int diff_trees(const struct diff_trees *trees, const struct provided_list *provided,
               diff_callback callback, void *data, struct error *err) _must_check_;

/* 1 where there is a difference, 0 where there is none, -errno. */
int diff_is_any(const struct diff_trees *trees, const struct provided_list *provided,
                struct error *err) _must_check_;
