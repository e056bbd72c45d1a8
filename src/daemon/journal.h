/* SPDX-License-Identifier: Apache-2.0 */
/* What a resident isolated tells the journal of each sandbox, with fields to filter by. */
#pragma once

#include "daemon/sandbox.h"

/* "started", "ended" or "taken over". Nothing where isolated does not run under the journal. */
void journal_sandbox(const struct sandbox *sandbox, const char *event);
