/* SPDX-License-Identifier: Apache-2.0 */
/* Paths of a tree with something noted of each. Memory only. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

struct path_note {
    char *path;
    char *first; /* the first path of the same file, or NULL */
    bool changed;
};

struct path_set {
    struct path_note *items;
    size_t n;
    size_t capacity;
};

#define _cleanup_path_set_ _cleanup_(path_set_clear)
void path_set_clear(struct path_set *set);
/* Adds a path that is not in it; -ENOMEM. Nothing is found before path_set_sort. */
int path_set_add(struct path_set *set, const char *path, const char *first) _must_check_;
void path_set_sort(struct path_set *set);
/* NULL where it is not in the set. */
struct path_note *path_set_find(const struct path_set *set, const char *path);
