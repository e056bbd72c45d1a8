/* SPDX-License-Identifier: Apache-2.0 */
/* Quota groups of btrfs: each subvolume has one, where quotas are on, and what it does not
 * share can be limited. Nothing here waits for a rescan: what a snapshot does not share is
 * right from its first byte on. Source: btrfs-qgroup(8), linux/btrfs.h. */
#include "storage/btrfs.h"
#include "storage/room.h"
#include "storage/trees.h"
#include "sys/fd.h"

#include <btrfsutil.h>
#include <endian.h>
#include <errno.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <sys/ioctl.h>
#include <unistd.h>

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

/* statfs tells nothing of quota groups. What they count is right when the transaction is
 * written. */
int btrfs_room(int mount_fd, struct storage_room *ret)
{
    uint64_t id = 0;
    struct btrfs_qgroup_info_item info;
    struct btrfs_qgroup_limit_item limit;
    _cleanup_close_ int fd = dir_open_at(mount_fd, ".");
    if (fd < 0 || syncfs(fd) < 0)
        return fd < 0 ? fd : -errno;
    if (btrfs_util_subvolume_id_fd(fd, &id) != BTRFS_UTIL_OK)
        return -errno;
    struct btrfs_item item = {
        .tree = BTRFS_QUOTA_TREE_OBJECTID, .type = BTRFS_QGROUP_LIMIT_KEY, .offset = id};
    int r = btrfs_item_read(fd, &item, &limit, sizeof(limit));
    if (r < 0)
        return r;
    item.type = BTRFS_QGROUP_INFO_KEY;
    int n = btrfs_item_read(fd, &item, &info, sizeof(info));
    if (n < (int)sizeof(info) || r < (int)sizeof(limit) ||
        !(le64toh(limit.flags) & BTRFS_QGROUP_LIMIT_MAX_EXCL))
        return -ENODATA;
    uint64_t most = le64toh(limit.max_excl);
    uint64_t used = le64toh(info.excl);
    *ret = (struct storage_room){.bytes = used < most ? most - used : 0, .inodes = UINT64_MAX};
    return 0;
}

void btrfs_quota_forget(int dir_fd, uint64_t id)
{
    struct btrfs_ioctl_qgroup_create_args group = {.create = 0, .qgroupid = id};
    (void)ioctl(dir_fd, BTRFS_IOC_QGROUP_CREATE, &group);
}
