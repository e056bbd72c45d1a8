/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of disk space by project quotas (sys/project.h), for drivers whose clones are
 * directories. */
#pragma once

#include "storage/store.h"

/* To the empty directory of a clone that is being made. */
int store_project_assign(int clone_fd, const struct store_clone *clone,
                         struct error *err) _must_check_;
/* Around what isolate itself makes in the clone, which may be full. */
void store_project_relax(int clone_fd, const struct store_clone *clone);
void store_project_tighten(int clone_fd, const struct store_clone *clone);
/* Before the clone is destroyed. */
void store_project_release(struct storage *storage, const char *name);
/* -EOPNOTSUPP, without err, where the clone has no project. */
int store_project_limit(struct storage *storage, const char *name, uint64_t bytes,
                        struct error *err) _must_check_;
/* The slot `limit`, where there is no other way. */
int store_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err);
