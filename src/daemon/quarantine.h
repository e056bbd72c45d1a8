/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes that have ended and of which something will not go. See quarantine.c. */
#pragma once

#include "base/buffer.h"
#include "daemon/daemon.h"

/* Says so in the record (lock_fd is its lock), and once in the log: what failed is err's text.
 */
void quarantine_mark(struct daemon *daemon, struct record *record, int *lock_fd,
                     const struct error *err);
/* From now on it counts, until its record is gone. */
void quarantine_add(struct daemon *daemon, const struct record *record);
/* Frees the list; the records stay. */
void quarantine_forget(struct daemon *daemon);
/* How many of a user's there are. */
unsigned quarantine_count(struct daemon *daemon, uid_t uid);
/* Who holds it, as far as the kernel shows: processes that do not end, and mounts below its
 * clone by one process of each mount namespace. Each is appended behind "; ". */
void quarantine_holders(struct daemon *daemon, const char *id, struct buffer *ret);
