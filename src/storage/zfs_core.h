/* SPDX-License-Identifier: Apache-2.0 */
/* OpenZFS without its command: libzfs_core, loaded where it is installed. A call costs one fork
 * and one ioctl, where the command takes some milliseconds to get going; many destroys are one
 * transaction of the pool. Whatever cannot be done this way is asked of the command, which also
 * has the words for what is wrong: so 0 stands for "ask the command", and 1 for "done".
 *
 * Each call is made in a fork: one that the kernel does not return from (a pool that is
 * suspended just then) holds nobody, and a library that gives up takes nothing else along. Runs
 * in isolated as root; names of datasets are checked again here. Blocks for as long as the pool
 * takes to write a transaction. -errno only where the pool does not answer. */
#pragma once

#include "storage/zfs.h"

/* As `zfs get` prints them: PROPERTY, value and source of a dataset; nothing where there is
 * none. */
int zfs_core_get(const char *dataset, struct buffer *ret, struct error *err) _must_check_;

/* As `zfs get -r -d 1` prints them: dataset@SNAPSHOT, property and value of all its snapshots.
 */
int zfs_core_snapshots(const char *dataset, struct buffer *ret, struct error *err) _must_check_;

/* A clone with the properties that all clones have, and io.isolate:clone=mark; what
 * zfs_core_get says of it then. */
int zfs_core_clone(const char *from, const char *dataset, const char *mark, struct buffer *ret,
                   struct error *err) _must_check_;

/* A clone that is to be destroyed. */
struct zfs_doomed {
    char dataset[ZFS_NAME_SIZE];
    char mark[CLONE_NAME_SIZE];     /* what io.isolate:clone must say, set on itself */
    char mountpoint[ZFS_PATH_SIZE]; /* where it is mounted visibly, or "" */
    bool gone;                      /* result: it is destroyed, or there was none */
};

/* Destroys those of one pool that are marked, in one transaction; which may be refused one by
 * one (busy, snapshots): see `gone`. */
int zfs_core_destroy(struct zfs_doomed *doomed, size_t n, struct error *err) _must_check_;
