/* SPDX-License-Identifier: Apache-2.0 */
/* What is said where an entry of a tree cannot be read. Both always fail. */
#pragma once

#include "base/error.h"
#include "sys/walk.h"

int read_failed(const struct walk_entry *entry, int errnum, struct error *err);
/* It has fewer bytes than it had. */
int read_ended(const struct walk_entry *entry, struct error *err);
