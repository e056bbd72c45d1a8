/* SPDX-License-Identifier: Apache-2.0 */
/* Loads system call filters into the calling process, for good. Needs no_new_privs or
 * CAP_SYS_ADMIN. Source: seccomp(2). */
#pragma once

#include "base/error.h"
#include "sys/filter_walk.h"

#include <stddef.h>

/* All programs of that kind of a block as filter_walk.h says. -EPROTO where it is malformed;
 * what was loaded before stays. */
int filter_load(const void *filters, size_t length, enum filter_when when,
                struct error *err) _must_check_;

/* That of one of isolate's own processes (sys/filter_own_main.c). What it refuses is written
 * into the kernel's log, unless a filter that is loaded later refuses the same. */
int filter_load_own(const void *filter, size_t length, struct error *err) _must_check_;
