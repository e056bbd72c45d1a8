/* SPDX-License-Identifier: Apache-2.0 */
/* The stock: fresh clones that belong to no daemon, made by `isolate -r` for machines on which
 * none is resident, and of use to one that is. A clone is in stock while it has a record of
 * state "fresh" and a file RuntimeDirectory/stock/TEMPLATE/ID; who takes it locks the record
 * first and removes the file. All of it is gone after a boot. Runs in isolated as root. */
#pragma once

#include "daemon/body.h"

struct stock_change {
    unsigned fresh; /* in stock now */
    unsigned made;
    unsigned removed;
};

/* Removes what is more than `wanted` (with is_used: all), makes what is missing. Blocks. */
int stock_fill(struct daemon *daemon, const char *template_name, unsigned wanted, bool is_used,
               struct stock_change *ret, struct error *err) _must_check_;

/* Removes all: the template is about to have another current generation, or none. Before that,
 * so that nothing of an old one is in stock when whoever changes it is killed on the way. */
void stock_drop(struct daemon *daemon, const char *template_name);

/* Behind the change: removes what was made meanwhile, and tells the units that refill. */
void stock_renew(struct daemon *daemon, const char *template_name);

/* The oldest one becomes that of the body, which has nothing yet; false where there is none.
 * Reads two small files. */
bool stock_take(struct daemon *daemon, struct body *body);

/* Whether that would find one now. */
bool stock_would_serve(struct daemon *daemon, const struct body *body);

/* Whether a fresh clone is in stock. */
bool stock_has(struct daemon *daemon, const char *id);
