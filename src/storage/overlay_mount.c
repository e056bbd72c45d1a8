/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay mounts from layers that are stored with different ids. Each lower layer is id-mapped
 * on its own to the sandbox's range; the upper is plain and owned by the range, because with an
 * id-mapped upper overlayfs cannot make its work directory and silently mounts read-only. Runs
 * in isolated as root; nothing in the layers is looked up by name. */
#include "base/text.h"
#include "storage/overlay.h"
#include "storage/store_root.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/overlayfs.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/statvfs.h>

#define FULL_BLOCKS 64 /* with fewer the work directory may not have found its place */

/* User namespaces that map a layer's stored ids to where they are wanted, one per stored base.
 */
struct idmaps {
    const struct storage_viewer *viewer; /* whose ids are wanted; NULL: these: */
    uint32_t target;                     /* first id that a mapped layer shows */
    int userns_fd; /* borrowed: maps 0… to target…, -EBADF where target is 0 */
    uint32_t made_for;
    int made; /* the last one made */
};

static void idmaps_clear(struct idmaps *maps)
{
    maps->made = fd_close(maps->made);
}

/* The user namespace for a layer stored from first_id, -EBADF where none is needed. */
static int idmaps_get(struct idmaps *maps, uint32_t first_id, int *ret)
{
    *ret = -EBADF;
    if (!maps->viewer && first_id == maps->target)
        return 0;
    if (!maps->viewer && first_id == 0) {
        *ret = maps->userns_fd;
        return 0;
    }
    if (maps->made < 0 || maps->made_for != first_id) {
        const struct id_map map = {first_id, maps->target, USERNS_RANGE};
        maps->made = fd_close(maps->made);
        int fd = maps->viewer ? storage_viewer_userns(maps->viewer, first_id)
                              : userns_new(&map, 1, &map, 1);
        if (fd < 0)
            return fd;
        maps->made = fd;
        maps->made_for = first_id;
    }
    *ret = maps->made;
    return 0;
}

static int layer_mount(struct storage *storage, const struct layer *layer, int root_fd,
                       struct idmaps *maps, struct error *err)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "layers/%s/tree", layer->id);
    _cleanup_close_ int tree = *layer->id ? mount_open_tree(storage->dir_fd, path, false)
                                          : mount_open_tree(root_fd, "", false);
    if (tree < 0)
        return fail(err, ERROR_SYSTEM, tree, "storage overlay: layer %s: ",
                    *layer->id ? layer->id : "of the given directory");
    int userns_fd = -EBADF;
    int r = idmaps_get(maps, layer->first_id, &userns_fd);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "storage overlay: user namespace for an id map: ");
    if (userns_fd >= 0)
        r = mount_set_attributes(tree, false, 0, 0, userns_fd);
    if (r == -EINVAL || r == -EPERM)
        return fail(
            err, ERROR_UNSUPPORTED, r,
            "storage overlay: the file system of the template cannot be id-mapped; put it "
            "on ext4, XFS, btrfs or tmpfs");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage overlay: id-map a layer: ")
                 : TAKE_FD(tree);
}

static bool is_full(const struct statvfs *st)
{
    return (st->f_blocks > 0 && st->f_bavail < FULL_BLOCKS) ||
           (st->f_files > 0 && st->f_ffree == 0);
}

/* parent_fd < 0: read-only. */
static int overlay_create(const struct overlayfs *overlay, struct error *err)
{
    int clone_fd = overlay->parent_fd;
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    int mount =
        overlayfs_mount(overlay, clone_fd >= 0 ? attributes : attributes | MOUNT_ATTR_RDONLY);
    if (mount == -ENODEV)
        return fail(err, ERROR_UNSUPPORTED, mount, "this kernel has no overlay file system: ");
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "storage overlay: mount: ");
    /* overlayfs mounts read-only, with one line in the kernel's log, when its work directory
     * cannot be used */
    struct statvfs st = {0};
    if (clone_fd >= 0 && (fstatvfs(mount, &st) < 0 || (st.f_flag & ST_RDONLY))) {
        fd_close(mount);
        if (is_full(&st))
            return fail(err, ERROR_NO_SPACE, ENOSPC, "storage overlay: the file system of %s: ",
                        overlay->parent_is_mount ? "the clone" : "the state directory");
        return fail(
            err, ERROR_UNSUPPORTED, EROFS,
            "storage overlay: the kernel made a read-only mount; the file system of the "
            "state directory lacks what an overlay's upper layer needs (see dmesg)");
    }
    return mount;
}

/* The mounted layers of a stack, bottom first. */
struct lowers {
    int fds[LAYERS_MAX];
    size_t n;
};

static void lowers_clear(struct lowers *lowers)
{
    for (size_t i = 0; i < lowers->n; i++)
        lowers->fds[i] = fd_close(lowers->fds[i]);
}

static int lowers_mount(struct storage *storage, const struct layer_stack *stack, int root_fd,
                        struct idmaps *maps, struct lowers *ret, struct error *err)
{
    for (; ret->n < stack->n; ret->n++) {
        int fd = layer_mount(storage, &stack->items[ret->n], root_fd, maps, err);
        if (fd < 0)
            return fd;
        ret->fds[ret->n] = fd;
    }
    return 0;
}

/* upper says how that is to be mounted. */
static int mount_on_layers(struct storage *storage, const struct overlay_clone *of,
                           struct idmaps *maps, int root_fd, const struct overlayfs *upper,
                           struct error *err)
{
    _cleanup_(lowers_clear) struct lowers lowers = {0};
    _cleanup_close_ int root = -EBADF;
    const struct store_clone *clone = &of->store;
    if (clone->root_path && (root = store_root_open(clone, root_fd, err)) < 0)
        return root;
    int r = lowers_mount(storage, &clone->stack, root, maps, &lowers, err);
    struct overlayfs overlay = *upper;
    overlay.lowers = lowers.fds;
    overlay.n = lowers.n;
    overlay.parent_fd = overlay_clone_place(of);
    overlay.parent_is_mount = of->image_fd >= 0;
    /* writing to an image fails behind the writer's back where the disk that it lies on is
     * full: who syncs is told */
    overlay.no_sync = !clone->durable && of->image_fd < 0;
    return r < 0 ? r : overlay_create(&overlay, err);
}

int overlay_mount_stack(struct storage *storage, const struct overlay_clone *clone,
                        int userns_fd, int root_fd, int *ret_mount, struct error *err)
{
    _cleanup_(idmaps_clear) struct idmaps maps = {
        .target = clone->store.first_id,
        .userns_fd = userns_fd,
        .made = -EBADF,
    };
    const struct overlayfs upper = {.writer = clone->store.first_id};
    int r = mount_on_layers(storage, clone, &maps, root_fd, &upper, err);
    if (r < 0)
        return r;
    *ret_mount = r;
    return 0;
}

/* Here the upper can be id-mapped, because who mounts has ids that are mapped. */
int overlay_mount_view(struct storage *storage, const struct overlay_clone *clone,
                       const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                       struct error *err)
{
    _cleanup_(idmaps_clear) struct idmaps maps = {
        .viewer = viewer,
        .userns_fd = -EBADF,
        .made = -EBADF,
    };
    _cleanup_close_ int userns = storage_viewer_userns(viewer, clone->store.first_id);
    if (userns < 0)
        return fail(err, ERROR_SYSTEM, userns,
                    "storage overlay: user namespace for an id map: ");
    const struct overlayfs upper = {
        .writer = viewer->uid,
        .writer_group = viewer->uid == 0 ? 0 : viewer->gid,
        .parent_userns_fd = userns,
    };
    int r = mount_on_layers(storage, clone, &maps, root_fd, &upper, err);
    if (r < 0)
        return r;
    *ret_mount = r;
    return 0;
}

int overlay_mount_read_only(struct storage *storage, const struct layer_stack *stack,
                            int root_fd, int *ret_mount, struct error *err)
{
    _cleanup_(idmaps_clear) struct idmaps maps = {.userns_fd = -EBADF, .made = -EBADF};
    _cleanup_(lowers_clear) struct lowers lowers = {0};
    int r = lowers_mount(storage, stack, root_fd, &maps, &lowers, err);
    if (r == 0 && lowers.n == 1) {
        /* an overlay needs two layers: one alone is simply shown */
        r = mount_set_attributes(lowers.fds[0], false,
                                 MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0,
                                 -EBADF);
        r = r < 0 ? fail(err, ERROR_SYSTEM, r, "storage overlay: ") : TAKE_FD(lowers.fds[0]);
    } else if (r == 0) {
        r = overlay_create(
            &(struct overlayfs){.lowers = lowers.fds, .n = lowers.n, .parent_fd = -EBADF}, err);
    }
    if (r < 0)
        return r;
    *ret_mount = r;
    return 0;
}
