/* SPDX-License-Identifier: Apache-2.0 */
/* How much is left of a clone's limit of disk space. */
#pragma once

#include "storage/storage.h"

/* What a clone that is limited may still take; UINT64_MAX: not known. */
struct storage_room {
    uint64_t bytes;
    uint64_t inodes;
};

/* Of a clone, by what `mount` gave: the slot `room`, which may write first, or where there is
 * none what statfs says. 0 or -errno. Blocks for as long as the file system does. */
int storage_room(const struct storage *storage, int mount_fd,
                 struct storage_room *ret) _must_check_;
