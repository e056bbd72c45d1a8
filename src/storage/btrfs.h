/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the btrfs driver. Needs root. */
#pragma once

#include "storage/store.h"

/* Slots of store_ops. */
int btrfs_tree_make(int dir_fd, const char *name) _must_check_;
int btrfs_tree_seal(int tree_fd) _must_check_;

/* Deletes the subvolume of this name with those inside it; 0 also where there is none. A plain
 * directory is left alone. */
int btrfs_tree_delete(int dir_fd, const char *name) _must_check_;

/* btrfs_source.c: a tree_source. Blocks for as long as a copy takes, one time in some dozens.
 */
int btrfs_tree_source(struct storage *storage, const char *layer) _must_check_;

/* btrfs_source.c: the item of a key in one of the file system's trees, at most size bytes of
 * it; its length, -ENODATA where there is none. Source: linux/btrfs_tree.h. */
struct btrfs_item {
    uint64_t tree;
    uint64_t id;
    uint32_t type;
    uint64_t offset;
    bool any_offset;
};
int btrfs_item_read(int fd, const struct btrfs_item *item, void *ret, size_t size) _must_check_;

/* btrfs_quota.c: the slots `limit` and `room` */
int btrfs_room(int mount_fd, struct storage_room *ret);
int btrfs_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err);
/* A snapshot of a clone has inherited its limit: what is made of it is not to have that. */
void btrfs_limit_clear(int tree_fd);
/* The quota group of a subvolume that has just been deleted; kernels since 6.10 do it
 * themselves, a while later. */
void btrfs_quota_forget(int dir_fd, uint64_t id);
