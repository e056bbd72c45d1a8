/* SPDX-License-Identifier: Apache-2.0 */
/* Sets of paths. Runs in isolate-image as root; the paths are hostile, and are only kept. */
#include "image/path_set.h"

#include <stdlib.h>
#include <string.h>

void path_set_clear(struct path_set *set)
{
    for (size_t i = 0; i < set->n; i++) {
        free(set->items[i].path);
        free(set->items[i].first);
    }
    free(set->items);
    *set = (struct path_set){0};
}

int path_set_add(struct path_set *set, const char *path, const char *first)
{
    if (set->n == set->capacity) {
        size_t capacity = set->capacity ? set->capacity * 2 : 64;
        struct path_note *items = reallocarray(set->items, capacity, sizeof(*items));
        if (!items)
            return -ENOMEM;
        set->items = items;
        set->capacity = capacity;
    }
    struct path_note note = {.path = strdup(path), .first = first ? strdup(first) : NULL};
    if (!note.path || (first && !note.first)) {
        free(note.path);
        free(note.first);
        return -ENOMEM;
    }
    set->items[set->n++] = note;
    return 0;
}

static int compare(const void *a, const void *b)
{
    return strcmp(((const struct path_note *)a)->path, ((const struct path_note *)b)->path);
}

void path_set_sort(struct path_set *set)
{
    if (set->n > 1)
        qsort(set->items, set->n, sizeof(*set->items), compare);
}

struct path_note *path_set_find(const struct path_set *set, const char *path)
{
    const struct path_note wanted = {.path = (char *)path};
    return set->n > 0 ? bsearch(&wanted, set->items, set->n, sizeof(*set->items), compare)
                      : NULL;
}
