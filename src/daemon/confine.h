/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated's own processes give up for good: doc/DESIGN.md, section 3, has the table.
 * Needs CAP_SYS_ADMIN and CAP_SETPCAP. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* Of isolated, resident or not, and so of all that it starts: what changes the machine itself.
 * Before anything is started. */
int confine_machine(struct error *err) _must_check_;
/* The capabilities of the machine's that are left then. */
uint64_t confine_left(void);

/* Besides, of a process that works on files and starts no sandbox. */
int confine_work(struct error *err) _must_check_;

/* Everything but what the keeper still does. */
int confine_keeper(struct error *err) _must_check_;
