/* SPDX-License-Identifier: Apache-2.0 */
/* The driver `btrfs`: a generation is a read-only subvolume, a clone a snapshot of it. Runs in
 * isolated as root. Sandboxes can make subvolumes of their own inside their clones (no
 * privilege is needed for that): those are listed by the kernel and removed by number, because
 * a path could lead elsewhere by then. */
#include "storage/btrfs.h"
#include "base/text.h"
#include "storage/arrival.h"
#include "storage/drivers.h"
#include "storage/trees.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/tree.h"

#include <btrfsutil.h>
#include <linux/btrfs.h>
#include <linux/magic.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define REMOVE_ROUNDS 4 /* somebody may go on making subvolumes */

int btrfs_tree_make(int dir_fd, const char *name)
{
    _cleanup_close_ int dir = dir_open_at(dir_fd, ".");
    if (dir < 0)
        return dir;
    if (btrfs_util_create_subvolume_fd(dir, name, 0, NULL, NULL) != BTRFS_UTIL_OK)
        return -errno;
    return fchmodat(dir, name, 0755, 0) < 0 ? -errno : 0;
}

/* Calls back with the subvolumes below the one of fd, the deepest first, until one is not 0. */
static int for_each_child(int fd,
                          int (*each)(int fd, const char *path, uint64_t id, void *data),
                          void *data)
{
    struct btrfs_util_subvolume_iterator *iterator = NULL;
    if (btrfs_util_create_subvolume_iterator_fd(fd, 0, BTRFS_UTIL_SUBVOLUME_ITERATOR_POST_ORDER,
                                                &iterator) != BTRFS_UTIL_OK)
        return -errno;
    int r = 0;
    while (r == 0) {
        char *path = NULL;
        uint64_t id = 0;
        enum btrfs_util_error e = btrfs_util_subvolume_iterator_next(iterator, &path, &id);
        if (e == BTRFS_UTIL_ERROR_STOP_ITERATION)
            break;
        r = e == BTRFS_UTIL_OK ? each(fd, path, id, data) : -errno;
        free(path);
    }
    btrfs_util_destroy_subvolume_iterator(iterator);
    return r;
}

static int refuse_child(int fd, const char *path, uint64_t id, void *data)
{
    return fail(
        data, ERROR_UNSUPPORTED, EOPNOTSUPP,
        "\"/%.300s\" is a subvolume of its own, which a snapshot does not contain; make "
        "it a directory: cp -a to another name, and btrfs subvolume delete",
        path);
}

static int copy(int from_fd, int dir_fd, const char *name, struct error *err)
{
    struct error one = {0};
    int r = for_each_child(from_fd, refuse_child, &one);
    if (r == 0 &&
        btrfs_util_create_snapshot_fd2(from_fd, dir_fd, name, 0, NULL, NULL) != BTRFS_UTIL_OK)
        r = -errno;
    if (r < 0 && one.code == ERROR_NONE)
        return fail(err, error_code_of_errno(-r), r, "btrfs: make a snapshot: ");
    if (r < 0 && err)
        *err = one;
    return r;
}

int btrfs_tree_seal(int tree_fd)
{
    btrfs_limit_clear(tree_fd);
    return btrfs_util_set_subvolume_read_only_fd(tree_fd, true) == BTRFS_UTIL_OK ? 0 : -errno;
}

static int delete_by_id(int fd, const char *path, uint64_t id, void *data)
{
    const uint64_t *end_ms = data;
    struct btrfs_ioctl_vol_args_v2 arguments = {
        .flags = BTRFS_SUBVOL_SPEC_BY_ID,
        .subvolid = id,
    };
    if (*end_ms > 0 && time_now_ms() >= *end_ms)
        return -EAGAIN;
    if (ioctl(fd, BTRFS_IOC_SNAP_DESTROY_V2, &arguments) < 0)
        return errno == ENOENT ? 0 : -errno;
    btrfs_quota_forget(fd, id);
    return 0;
}

static int tree_delete_until(int dir_fd, const char *name, uint64_t end_ms)
{
    for (unsigned round = 0; round < REMOVE_ROUNDS; round++) {
        _cleanup_close_ int fd = dir_open_at(dir_fd, name);
        if (fd < 0)
            return fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP ? 0 : fd;
        if (btrfs_util_is_subvolume_fd(fd) != BTRFS_UTIL_OK)
            return 0;
        bool is_sent =
            btrfs_util_set_subvolume_read_only_fd(fd, false) != BTRFS_UTIL_OK && errno == EPERM;
        int r = for_each_child(fd, delete_by_id, &end_ms);
        if (r == -EAGAIN)
            return r;
        if (r < 0)
            return 0; /* as plain directories, as far as that goes */
        uint64_t id = 0;
        (void)btrfs_util_subvolume_id_fd(fd, &id);
        if (btrfs_util_delete_subvolume_fd(dir_fd, name, 0) == BTRFS_UTIL_OK) {
            btrfs_quota_forget(dir_fd, id);
            return 0;
        }
        if (errno == EPERM && is_sent) /* as long as that takes */
            return -EBUSY;
        if (errno != ENOTEMPTY)
            return errno == ENOENT ? 0 : -errno; /* another was faster */
    }
    return -EBUSY;
}

int btrfs_tree_delete(int dir_fd, const char *name)
{
    return tree_delete_until(dir_fd, name, 0);
}

static int remove_trees(int dir_fd, const char *name, uint64_t end_ms)
{
    int fd = dir_open_at(dir_fd, name);
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (fd < 0)
        return fd == -ENOENT ? 0 : fd;
    if (!dir)
        return -errno;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
            continue;
        int r = tree_delete_until(fd, entry->d_name, end_ms);
        if (r < 0)
            return r;
    }
    return tree_remove_until(dir_fd, name, end_ms);
}

static const struct store_ops btrfs_store = {
    .tree_make = btrfs_tree_make,
    .tree_copy = copy,
    .tree_source = btrfs_tree_source,
    .tree_seal = btrfs_tree_seal,
    .remove = remove_trees,
    .recover = trees_recover,
};

static bool btrfs_suits(int dir_fd)
{
    struct statfs fs;
    return fstatfs(dir_fd, &fs) == 0 && fs.f_type == BTRFS_SUPER_MAGIC;
}

static int btrfs_open(struct storage *storage, struct error *err)
{
    if (!btrfs_suits(storage->dir_fd))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "storage %s: not a btrfs file system; use --storage=overlay, or "
                    "--storage=btrfs:LOCATION with a directory on btrfs",
                    storage->name);
    return store_make(storage, err);
}

const struct storage_driver storage_btrfs = {
    .name = "btrfs",
    .capabilities = STORAGE_TEMPLATES | STORAGE_DISPOSABLE | STORAGE_DIFF | STORAGE_LIMIT |
                    STORAGE_OWN_PAGES | STORAGE_VIEWS | STORAGE_ARRIVALS | STORAGE_SUBVOLUMES,
    .store = &btrfs_store,
    .suits = btrfs_suits,
    .open = btrfs_open,
    .limit = btrfs_limit,
    .room = btrfs_room,
    TREES_SLOTS,
};
