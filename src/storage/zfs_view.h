/* SPDX-License-Identifier: Apache-2.0 */
/* Generations of the ZFS driver as trees, changes of a template's dataset, and commits. Runs in
 * isolated as root; what sandboxes left in clones is hostile. */
#pragma once

#include "storage/zfs.h"

/* Of those who change templates, one after the other, however long it takes: no start waits for
 * it. Before any other lock; without `wait` -EAGAIN where somebody has it. */
static inline int zfs_change_lock(struct storage *storage, bool wait, struct error *err)
{
    return store_lock_named(storage, "change.lock", wait, err);
}

/* zfs_view.c: generations as trees, and changes of a template's dataset */
/* A mount of something that is there, to read or to write. */
int zfs_mount_dataset(const char *dataset, bool read_only, int *ret_mount,
                      struct error *err) _must_check_;
/* A generation read-only, with ids as in the source: a detached mount. */
int zfs_mount_view(struct storage *storage, const char *name, const char *generation,
                   int *ret_mount, struct error *err) _must_check_;
/* Takes back what a crash left of a change of the template's dataset; -EBUSY where that cannot
 * be done now. Under the lock of changes, before the dataset is changed or snapshotted. */
int zfs_template_settle(struct storage *storage, const char *name,
                        struct error *err) _must_check_;
/* The same of all templates, as far as it can be done, under that lock. */
int zfs_commit_recover(struct storage *storage, struct error *err) _must_check_;
int zfs_mount_generation(struct storage *storage, const char *name, const char *generation,
                         int *ret_mount, struct error *err);
/* Makes the template's dataset equal to the tree, then calls finish, which makes another
 * generation the current one; where that fails, too, the dataset goes back. The lock of changes
 * is held. */
int zfs_template_become(struct storage *storage, const char *name, int tree_fd,
                        int (*finish)(void *data, struct error *err), void *data,
                        struct error *err) _must_check_;
/* The same step by step: the dataset is the current generation, and to be changed by way of
 * `live`. */
struct zfs_become {
    char before[GENERATION_SIZE]; /* the current generation, which the dataset is */
    int live;                     /* the template's dataset, writable; -EBADF before */
};
int zfs_become_begin(struct storage *storage, const char *name, struct zfs_become *ret,
                     struct error *err) _must_check_;
/* After the last step, or the one that failed: then the dataset goes back. Returns result, or
 * what it says itself. */
int zfs_become_end(struct storage *storage, const char *name, struct zfs_become *become,
                   int result, struct error *err) _must_check_;

/* zfs_commit.c */
/* Whether a commit that was interrupted has made its generation: then the clone is one of that.
 * Under the lock of changes. */
int zfs_clone_settle(struct storage *storage, const char *name, struct error *err) _must_check_;
int zfs_diff(struct storage *storage, const char *name, const struct provided_list *provided,
             diff_callback callback, void *data, struct error *err);
int zfs_commit(struct storage *storage, const char *name, const struct provided_list *provided,
               const struct template_info *info, char ret_generation[static GENERATION_SIZE],
               struct error *err);
