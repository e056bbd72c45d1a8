/* SPDX-License-Identifier: Apache-2.0 */
/* The directories that one-off roots of a store's clones are. */
#pragma once

#include "storage/store.h"

int root_identify(int root_fd, struct root_identity *ret) _must_check_;
/* An fd of the clone's root, the caller's: a copy of root_fd, or where that is negative its
 * path opened again. -ESTALE where it is not the directory that the clone was made with. */
int store_root_open(const struct store_clone *clone, int root_fd,
                    struct error *err) _must_check_;
