/* SPDX-License-Identifier: Apache-2.0 */
/* Remembers for a file with several links what became of the first one that was met. Memory
 * only. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct inode_slot {
    uint64_t device;
    uint64_t inode;
    uint64_t value; /* never 0 in a slot that is used */
};

struct inode_table {
    struct inode_slot *slots;
    uint64_t capacity; /* a power of two, or 0 */
    uint64_t n;
};

#define _cleanup_inodes_ _cleanup_(inode_table_clear)
void inode_table_clear(struct inode_table *table);

/* The value stored for the inode, or 0 after storing `value` (not 0) as the first; -ENOMEM. */
int inode_table_first(struct inode_table *table, uint64_t device, uint64_t inode,
                      uint64_t value, uint64_t *ret) _must_check_;
