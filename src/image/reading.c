/* SPDX-License-Identifier: Apache-2.0 */
/* See reading.h. Runs in isolate-image; the names come from trees and are only printed. */
#include "image/reading.h"

int read_failed(const struct walk_entry *entry, int errnum, struct error *err)
{
    return fail(err, ERROR_SYSTEM, errnum,
                "read \"%.300s\": ", *entry->path ? entry->path : ".");
}

int read_ended(const struct walk_entry *entry, struct error *err)
{
    return fail(err, ERROR_BUSY, EBUSY,
                "\"%.300s\" became shorter while it was read; stop what changes the tree",
                entry->path);
}
