/* SPDX-License-Identifier: Apache-2.0 */
/* Imports of the ZFS driver: datasets that are being filled, and what becomes of them. Runs in
 * isolated as root; what is in them is hostile. */
#pragma once

#include "storage/zfs_view.h"

int zfs_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
               struct error *err);
int zfs_publish(struct storage *storage, const char *key, const struct template_info *info,
                char ret_generation[static GENERATION_SIZE], struct error *err);
/* Makes the dataset of an import, which is empty, or a clone of a snapshot (or NULL). is_seen:
 * it is mounted where `zfs list` says, and so is what becomes of it. */
int zfs_import_begin(struct storage *storage, const char *snapshot, bool is_seen, char *ret_key,
                     size_t key_size, struct error *err) _must_check_;
/* The same, opened. */
int zfs_import_make(struct storage *storage, const char *snapshot, char *ret_key,
                    size_t key_size, int *ret_tree_fd, struct error *err) _must_check_;
/* It becomes the dataset of a new template, of which `finish` makes its first generation; NULL:
 * there is one in it. Under the lock of changes. */
int zfs_import_publish(struct storage *storage, const char *key,
                       const struct template_info *info,
                       int (*finish)(void *data, struct error *err), void *data,
                       struct error *err) _must_check_;
/* The template's dataset becomes what is in it, under the same lock; `finish` then makes a
 * generation of that. */
int zfs_import_publish_over(struct storage *storage, const char *key, const char *name,
                            int (*finish)(void *data, struct error *err), void *data,
                            struct error *err) _must_check_;
int zfs_abort(struct storage *storage, const char *key, struct error *err);
int zfs_collect(struct storage *storage, struct error *err);

/* zfs_native.c */
extern const struct storage_natives zfs_natives;

/* zfs_arrival.c */
/* Whether it still fits; under the lock of changes. */
struct generation_arrival;
int zfs_arrival_check(struct storage *storage, const char *name,
                      const struct generation_arrival *arrival, struct error *err) _must_check_;
extern const struct storage_arrivals zfs_arrivals;
