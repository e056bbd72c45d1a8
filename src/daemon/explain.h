/* SPDX-License-Identifier: Apache-2.0 */
/* What `run --explain` says: the plan of a run that does not take place. Runs in isolated as
 * root; the request is the caller's, who hears of nothing that running it would not show. */
#pragma once

#include "daemon/sandbox.h"

/* Where the clone would come from. */
enum explain_clone {
    EXPLAIN_PARKED, /* with all of its sandbox */
    EXPLAIN_FRESH,  /* made already, and not in use */
    EXPLAIN_NEW,    /* made on the spot */
    EXPLAIN_KEPT,   /* a kept sandbox's own */
    EXPLAIN_NONE,   /* the directory itself: changes persist */
};

struct explained {
    const struct sandbox *sandbox; /* planned */
    const struct engine_told *told;
    enum explain_clone clone;
    uint32_t filter_flags;
    bool shares_ids;
    bool asks_user; /* only its init can say who `user` is */
};

/* explain_json.c: as the interface's type Plan; NULL: out of memory. */
json_t *explained_to_json(const struct explained *explained);
