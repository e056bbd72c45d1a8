/* SPDX-License-Identifier: Apache-2.0 */
/* Drivers with a store (store.h) in which generations and clones are whole trees of their own,
 * made by store_ops.tree_copy: btrfs and reflink. Files are stored with the ids they have
 * inside; mounts of clones are id-mapped. A clone is a directory
 *
 *   clones/CLONE/{clone.json,tree/}
 *   clones/CLONE/{next.json}           while a commit is going on
 */
#pragma once

#include "storage/store.h"

int trees_mount_generation(struct storage *storage, const char *template_name,
                           const char *generation, int *ret_mount, struct error *err);
int trees_clone(struct storage *storage, const struct clone_request *request,
                struct error *err);
int trees_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                int *ret_mount, struct error *err);
int trees_settle(struct storage *storage, int mount_fd);
int trees_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                struct error *err);

/* trees_commit.c */
int trees_diff(struct storage *storage, const char *name, const struct provided_list *provided,
               diff_callback callback, void *data, struct error *err);
int trees_commit(struct storage *storage, const char *name,
                 const struct provided_list *provided, const struct template_info *info,
                 char ret_generation[static GENERATION_SIZE], struct error *err);
int trees_recover(struct storage *storage, const char *clone, struct error *err);

/* The tree of a clone, and the one that it was made from: O_PATH fds. */
int trees_open_clone(struct storage *storage, const char *name, struct error *err) _must_check_;
int trees_open_base(struct storage *storage, const struct store_clone *clone,
                    struct error *err) _must_check_;

/* The slots of storage_driver that follow from all that. */
#define TREES_SLOTS                                                                            \
    STORE_SLOTS, .mount_generation = trees_mount_generation, .clone = trees_clone,             \
                 .mount = trees_mount, .settle = trees_settle, .usage = trees_usage,           \
                 .diff = trees_diff, .commit = trees_commit
