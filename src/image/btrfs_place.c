/* SPDX-License-Identifier: Apache-2.0 */
/* See btrfs_place.h. Runs in a confined child of isolate-image as root. */
#include "image/btrfs_place.h"

#include "image/beneath.h"
#include "sys/fd.h"

#include <errno.h>
#include <stdlib.h>

void btrfs_place_clear(struct btrfs_place *place)
{
    fd_close(place->parent_fd);
    free(place->path);
}

int btrfs_place_find(int root_fd, const struct btrfs_command *command,
                     enum btrfs_attribute_type type, struct btrfs_place *ret, struct error *err)
{
    const char *name = NULL;
    int r = btrfs_get_text(command, type, &ret->path, err);
    if (r == 0)
        r = beneath_normalize(ret->path, ret->path, err);
    if (r < 0)
        return r;
    ret->root_fd = root_fd;
    ret->parent_fd = beneath_open_parent(root_fd, ret->path, &name);
    ret->name = name && *name ? name : ".";
    return ret->parent_fd < 0 ? beneath_write_failed(root_fd, ret->parent_fd, ret->path, 0, err)
                              : 0;
}

int btrfs_done(const struct btrfs_place *place, int result, struct error *err)
{
    return result < 0 ? beneath_write_failed(place->root_fd, errno, place->path, 0, err) : 0;
}

int btrfs_damaged(const char *why, struct error *err)
{
    return fail(err, ERROR_INVALID, EBADMSG, BTRFS_STREAM_DAMAGED "%s", why);
}
