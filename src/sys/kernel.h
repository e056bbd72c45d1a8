/* SPDX-License-Identifier: Apache-2.0 */
/* The system calls without which no sandbox can be made. An older kernel lacks some, and so
 * does one behind a filter of system calls (a container's, a unit's) that says ENOSYS. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* foreign: also those of the inner init, which foreign engines execute. 0, or -ENOSYS and err
 * names the first that is missing. Changes nothing, does not block; needs no privilege. */
int kernel_check_calls(bool foreign, struct error *err) _must_check_;
