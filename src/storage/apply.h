/* SPDX-License-Identifier: Apache-2.0 */
/* Makes one tree what another is, change by change, for drivers whose generations are states of
 * one file system that goes on. Needs root; the source may be hostile and is never followed. */
#pragma once

#include "storage/diff.h"

#include <stddef.h>

struct change {
    enum diff_kind kind;
    char *path;
};

struct change_list {
    struct change *items; /* in order of path */
    size_t n;
    size_t capacity;
};
void change_list_clear(struct change_list *list);
#define _cleanup_changes_ _cleanup_(change_list_clear)

/* A diff_callback that takes a copy; data is the list. */
int change_list_add(void *data, enum diff_kind kind, const char *path);

/* Changes `to` so that it has at all these paths what `from` has. Files with several links get
 * all of those that they have in `from`. Owners lose first_id. Blocks. Half of it is done where
 * it fails. */
int changes_apply(const struct change_list *changes, int from_fd, int to_fd, uint32_t first_id,
                  struct error *err) _must_check_;
