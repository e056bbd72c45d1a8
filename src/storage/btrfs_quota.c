/* SPDX-License-Identifier: Apache-2.0 */
/* Quota groups of btrfs: each subvolume has one, where quotas are on, and what it does not
 * share can be limited. Nothing here waits for a rescan: what a snapshot does not share is
 * right from its first byte on. Source: btrfs-qgroup(8), linux/btrfs.h. */
#include "storage/btrfs.h"
#include "storage/trees.h"
#include "sys/fd.h"

#include <btrfsutil.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <sys/ioctl.h>

static int set(int tree_fd, uint64_t bytes)
{
    /* 0: the group of the subvolume of the fd */
    struct btrfs_ioctl_qgroup_limit_args limit = {
        .lim = {.flags = BTRFS_QGROUP_LIMIT_MAX_EXCL, .max_excl = bytes},
    };
    return ioctl(tree_fd, BTRFS_IOC_QGROUP_LIMIT, &limit) < 0 ? -errno : 0;
}

void btrfs_limit_clear(int tree_fd)
{
    (void)!set(tree_fd, UINT64_MAX);
}

int btrfs_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err)
{
    _cleanup_close_ int tree = trees_open_clone(storage, name, err);
    _cleanup_close_ int fd = tree < 0 ? tree : dir_open_at(tree, ".");
    if (tree < 0)
        return tree;
    int r = fd < 0 ? fd : set(fd, bytes);
    if (r == -ENOTCONN || r == -EINVAL || r == -ENOENT)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "storage %s: a limit of disk space needs quotas, which are off; run "
                    "`btrfs quota enable` on its file system",
                    storage->name);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: limit its disk space: ", name) : 0;
}

void btrfs_quota_forget(int dir_fd, uint64_t id)
{
    struct btrfs_ioctl_qgroup_create_args group = {.create = 0, .qgroupid = id};
    (void)ioctl(dir_fd, BTRFS_IOC_QGROUP_CREATE, &group);
}
