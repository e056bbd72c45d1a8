/* SPDX-License-Identifier: Apache-2.0 */
/* Places where a foreign engine makes things of its own in whatever is there. Pure. */
#pragma once

#include "spec/start.h"

/* Whether a bind may be at path: nothing is to be made in a directory of a caller's. Refuses by
 * the engine's name, with what would work. */
int engine_places_check(const struct start_engine *engine, const char *path, bool read_only,
                        struct error *err) _must_check_;
