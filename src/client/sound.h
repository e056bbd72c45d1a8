/* SPDX-License-Identifier: Apache-2.0 */
/* What PULSE_SERVER means. Pure. */
#pragma once

#include "base/error.h"

#include <stddef.h>

/* The path of the first unix socket in a list of servers ("unix:/path", "/path",
 * "{machine}unix:/path"); 1 where it names none, as with "tcp:host". */
int sound_parse_pulse(const char *servers, char *ret, size_t size,
                      struct error *err) _must_check_;
