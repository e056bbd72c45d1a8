/* SPDX-License-Identifier: Apache-2.0 */
/* Which entry of a walk is a hard link of which earlier one. Runs in isolate-image as root; the
 * paths are hostile, and are only kept. */
#include "image/links.h"

#include <stdlib.h>
#include <string.h>

void links_clear(struct links *links)
{
    for (size_t i = 0; i < links->n; i++)
        free(links->paths[i]);
    free(links->paths);
    inode_table_clear(&links->inodes);
    *links = (struct links){0};
}

static int remember(struct links *links, const char *path)
{
    if (links->n == links->capacity) {
        size_t capacity = links->capacity ? links->capacity * 2 : 64;
        char **paths = reallocarray(links->paths, capacity, sizeof(*paths));
        if (!paths)
            return -ENOMEM;
        links->paths = paths;
        links->capacity = capacity;
    }
    char *kept = strdup(path);
    if (!kept)
        return -ENOMEM;
    links->paths[links->n++] = kept;
    return 0;
}

int links_first(struct links *links, const struct walk_entry *entry, const char **ret_path)
{
    uint64_t first = 0;
    int r = remember(links, entry->path);
    if (r == 0)
        r = inode_table_first(&links->inodes, entry->device, entry->inode, links->n, &first);
    if (r < 0)
        return r;
    if (first > 0)
        free(links->paths[--links->n]);
    *ret_path = first > 0 ? links->paths[first - 1] : NULL;
    return 0;
}
