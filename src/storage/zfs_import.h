/* SPDX-License-Identifier: Apache-2.0 */
/* Imports of the ZFS driver: datasets that are being filled, and what becomes of them. Runs in
 * isolated as root; what is in them is hostile. */
#pragma once

#include "storage/zfs_view.h"

int zfs_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
               struct error *err);
int zfs_publish(struct storage *storage, const char *key, const struct template_info *info,
                char ret_generation[static GENERATION_SIZE], struct error *err);
/* Makes an import, which is empty, or a clone of a snapshot. */
int zfs_import_make(struct storage *storage, const char *snapshot, char *ret_key,
                    size_t key_size, int *ret_tree_fd, struct error *err) _must_check_;
/* It becomes the dataset of a new template, with its first generation. Under the lock of
 * changes. */
int zfs_import_publish(struct storage *storage, const char *key,
                       const struct template_info *info, const char *generation,
                       const struct generation_about *about, struct error *err) _must_check_;
/* The template's dataset becomes what is in it, under the same lock; `finish` then makes a
 * generation of that. */
int zfs_import_publish_over(struct storage *storage, const char *key, const char *name,
                            int (*finish)(void *data, struct error *err), void *data,
                            struct error *err) _must_check_;
int zfs_abort(struct storage *storage, const char *key, struct error *err);
int zfs_collect(struct storage *storage, struct error *err);

/* zfs_arrival.c */
extern const struct storage_arrivals zfs_arrivals;
