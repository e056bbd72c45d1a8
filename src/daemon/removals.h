/* SPDX-License-Identifier: Apache-2.0 */
/* What the destroyer has begun to take away and others would wait too long for: files of clones
 * and of layers in a storage's trash. Processes of their own, the removers, go on with it. */
#pragma once

#include "daemon/body.h"

struct removal;

/* Of the destroyer, and of its removers. */
struct removals {
    struct removal *first; /* in order */
    bool is_remover;
    bool found_trash; /* a remover's, of the storage of what it removes */
};

/* Told once of each order that removals_add has taken: 0, or -errno where something of it is
 * quarantined or left to the recovery. */
typedef void (*removal_ended)(uint32_t order, int result);

/* Until when this process may remove files of a clone of that owner (storage.h,
 * remove_until_ms). */
uint64_t removals_end_ms(const struct daemon *daemon, uint32_t owner_uid);

/* A body that body_destroy has left in this state (1), with its record's lock; the order is
 * isolated's, 0 where nobody waits to hear of it. Taken also on failure, -ENOMEM: then the next
 * recovery finds it. */
int removals_add(struct daemon *daemon, struct body *take_body, uint32_t order) _must_check_;
/* The same of a record that recover_destroy has left so; both are taken. */
void removals_add_record(struct daemon *daemon, struct record *take_record, int take_lock);

/* collect of a storage. In the destroyer and its removers the trash is left to a process of its
 * own. */
int removals_collect(struct daemon *daemon, struct storage *storage,
                     struct error *err) _must_check_;

/* Starts removers, and tells of those that have ended, until there is something to read at
 * link_fd. They end with this process; what they have not removed is the recovery's. Blocks. */
int removals_wait(struct daemon *daemon, int link_fd, removal_ended ended) _must_check_;
