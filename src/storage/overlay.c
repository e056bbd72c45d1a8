/* SPDX-License-Identifier: Apache-2.0 */
/* The driver `overlay`: a template is a list of layers, a clone an empty upper directory above
 * them. Works on every file system that overlayfs takes as upper; the default. Runs in isolated
 * as root. */
#include "storage/overlay.h"
#include "storage/arrival.h"
#include "storage/drivers.h"
#include "storage/layers.h"
#include "sys/mount.h"
#include "sys/tree.h"

#include <linux/magic.h>
#include <sys/vfs.h>

static const struct store_ops overlay_store = {
    .tree_make = store_directory_make,
    .remove = tree_remove_until,
    .mount_stack = overlay_mount_read_only,
    .recover = overlay_commit_recover,
};

static int overlay_mount_generation(struct storage *storage, const char *template_name,
                                    const char *generation, int *ret_mount, struct error *err)
{
    struct store_generation found = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, generation, false, &found, err);
    return lock < 0 ? lock
                    : overlay_mount_read_only(storage, &found.stack, -EBADF, ret_mount, err);
}

/* What overlayfs refuses as upper. */
static bool overlay_suits(int dir_fd)
{
    static const uint32_t refused[] = {
        NFS_SUPER_MAGIC,  SMB_SUPER_MAGIC,       SMB2_SUPER_MAGIC,
        V9FS_MAGIC,       FUSE_SUPER_MAGIC,      MSDOS_SUPER_MAGIC,
        CEPH_SUPER_MAGIC, OVERLAYFS_SUPER_MAGIC, AFS_SUPER_MAGIC};
    struct statfs fs;
    if (fstatfs(dir_fd, &fs) < 0)
        return false;
    for (size_t i = 0; i < ELEMENTS(refused); i++)
        if ((uint32_t)fs.f_type == refused[i])
            return false;
    return true;
}

/* The superblock is the clone's own. */
static int overlay_settle(struct storage *storage, int mount_fd)
{
    return mount_super_read_only(mount_fd);
}

const struct storage_driver storage_overlay = {
    .name = "overlay",
    .capabilities = STORAGE_TEMPLATES | STORAGE_ROOTS | STORAGE_DISPOSABLE | STORAGE_DIFF |
                    STORAGE_LIMIT | STORAGE_VIEWS | STORAGE_ARRIVALS | STORAGE_LAYERS,
    .store = &overlay_store,
    .suits = overlay_suits,
    .open = store_make,
    .mount_generation = overlay_mount_generation,
    .clone = overlay_clone,
    .mount = overlay_mount,
    .view = overlay_view,
    .settle = overlay_settle,
    .usage = overlay_usage,
    .limit = overlay_limit,
    .diff = overlay_diff,
    .commit = overlay_commit,
    .layers = &overlay_layers,
    STORE_SLOTS,
};
