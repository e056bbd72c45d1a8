/* SPDX-License-Identifier: Apache-2.0 */
/* A table of inodes with open addressing. Runs in isolate-image and isolated; the numbers come
 * from a file system and are mixed, so that no tree can make the table slow by chance. */
#include "sys/inodes.h"

void inode_table_clear(struct inode_table *table)
{
    freep(&table->slots);
    *table = (struct inode_table){0};
}

static uint64_t mix(uint64_t device, uint64_t inode)
{
    uint64_t x = inode ^ (device * UINT64_C(0x9E3779B97F4A7C15));
    x = (x ^ (x >> 30)) * UINT64_C(0xBF58476D1CE4E5B9);
    x = (x ^ (x >> 27)) * UINT64_C(0x94D049BB133111EB);
    return x ^ (x >> 31);
}

static struct inode_slot *find(struct inode_table *table, uint64_t device, uint64_t inode)
{
    uint64_t i = mix(device, inode) & (table->capacity - 1);
    while (table->slots[i].value != 0 &&
           (table->slots[i].device != device || table->slots[i].inode != inode))
        i = (i + 1) & (table->capacity - 1);
    return &table->slots[i];
}

static int grow(struct inode_table *table)
{
    struct inode_table larger = {.capacity = table->capacity ? table->capacity * 2 : 256};
    larger.slots = calloc(larger.capacity, sizeof(*larger.slots));
    if (!larger.slots)
        return -ENOMEM;
    for (uint64_t i = 0; i < table->capacity; i++) {
        const struct inode_slot *old = &table->slots[i];
        if (old->value != 0)
            *find(&larger, old->device, old->inode) = *old;
    }
    larger.n = table->n;
    inode_table_clear(table);
    *table = larger;
    return 0;
}

int inode_table_first(struct inode_table *table, uint64_t device, uint64_t inode,
                      uint64_t value, uint64_t *ret)
{
    if (table->n * 2 >= table->capacity) {
        int r = grow(table);
        if (r < 0)
            return r;
    }
    struct inode_slot *slot = find(table, device, inode);
    *ret = slot->value;
    if (slot->value == 0) {
        *slot = (struct inode_slot){.device = device, .inode = inode, .value = value};
        table->n++;
    }
    return 0;
}
