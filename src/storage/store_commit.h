/* SPDX-License-Identifier: Apache-2.0 */
/* What commits of drivers with a store (store.h) have in common. */
#pragma once

#include "storage/store.h"

/* Refuses a commit of the clone to the template `name` where that would lose something: 0, or
 * -errno. Under the lock that keeps other changes of templates out. */
int store_commit_check(struct storage *storage, const struct store_clone *clone,
                       const char *name, struct error *err) _must_check_;
/* Whether the template's current generation is the one that the clone was made from. */
bool store_clone_is_current(struct storage *storage, const struct store_clone *clone);
/* Whether the file at path below dir_fd is exactly what isolate provided. */
bool store_is_provided(int dir_fd, const char *path, const struct provided_list *provided);
/* O_PATH fd of the directory that holds path, and the name in it. */
int store_open_parent(int dir_fd, const char *path, const char **ret_name) _must_check_;
