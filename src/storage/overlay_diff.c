/* SPDX-License-Identifier: Apache-2.0 */
/* The two sides of a clone's diff: its upper directory and the layers below, both with ids from
 * 0. Runs in isolated as root. */
#include "base/text.h"
#include "storage/diff.h"
#include "storage/overlay.h"
#include "storage/store_root.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <fcntl.h>

/* The upper with ids from 0, read-only. In an image it is opened below the image's mount, which
 * may not be copied in part before Linux 6.15. */
static int upper_mount(const struct overlay_clone *clone, struct error *err)
{
    const struct id_map map = {clone->store.first_id, 0, USERNS_RANGE};
    bool has_image = clone->image_fd >= 0;
    _cleanup_close_ int mount = has_image ? dup_cloexec(clone->image_fd)
                                          : mount_open_tree(clone->clone_fd, "upper", false);
    _cleanup_close_ int userns = mount < 0 ? mount : userns_new(&map, 1, &map, 1);
    int r = userns < 0
                ? userns
                : mount_set_attributes(mount, false,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                       0, userns);
    int upper = -EBADF;
    if (r == 0 && has_image &&
        (upper = openat(mount, "upper", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)) < 0)
        r = -errno;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: look at its changes: ", clone->store.name);
    return has_image ? upper : TAKE_FD(mount);
}

static int base_mount(struct storage *storage, const struct store_clone *clone, int *ret_mount,
                      struct error *err)
{
    _cleanup_close_ int root = -EBADF;
    if (clone->root_path && (root = store_root_open(clone, -EBADF, err)) < 0)
        return root;
    return overlay_mount_read_only(storage, &clone->stack, root, ret_mount, err);
}

static int diff_open(struct storage *storage, const struct overlay_clone *clone,
                     struct diff_trees *trees, struct error *err)
{
    int r = base_mount(storage, &clone->store, &trees->was, err);
    trees->now = r < 0 ? r : upper_mount(clone, err);
    return trees->now < 0 ? trees->now : 0;
}

int overlay_diff(struct storage *storage, const char *name,
                 const struct provided_list *provided, diff_callback callback, void *data,
                 struct error *err)
{
    _cleanup_overlay_clone_ struct overlay_clone clone = OVERLAY_CLONE_NONE;
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, true, false};
    {
        /* only until both are open: a walk may take long */
        _cleanup_close_ int lock = store_lock(storage, false, err);
        int r = lock < 0 ? lock : overlay_clone_open(storage, name, &clone, err);
        if (r == 0)
            r = diff_open(storage, &clone, &trees, err);
        if (r < 0)
            return r;
    }
    return diff_trees(&trees, provided, callback, data, err);
}

int overlay_is_changed(struct storage *storage, const struct overlay_clone *clone,
                       const struct provided_list *provided, struct error *err)
{
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, true, false};
    int r = diff_open(storage, clone, &trees, err);
    return r < 0 ? r : diff_is_any(&trees, provided, err);
}
