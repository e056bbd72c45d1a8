/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated and its builders are started with of somebody's environment: isolate's own
 * settings (ISOLATE_…), TMPDIR, and what sanitizers of a debug build read. Nothing else: the
 * dynamic linker, libc and every library read more of it, and all of them as root there. */
#pragma once

#include <stddef.h>

#define ENVIRONMENT_MAX 32

/* Fills ret with borrowed strings of `from` and constants, and a NULL; what does not fit is
 * left out. */
void environment_fixed(char *const *from, char *ret[static ENVIRONMENT_MAX]);
