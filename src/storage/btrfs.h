/* SPDX-License-Identifier: Apache-2.0 */
/* The btrfs driver's inside. */
#pragma once

#include "storage/storage.h"

/* btrfs_quota.c: the slot `limit` */
int btrfs_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err);
/* A snapshot of a clone has inherited its limit: what is made of it is not to have that. */
void btrfs_limit_clear(int tree_fd);
/* The quota group of a subvolume that has just been deleted; kernels since 6.10 do it
 * themselves, a while later. */
void btrfs_quota_forget(int dir_fd, uint64_t id);
