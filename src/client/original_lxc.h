/* SPDX-License-Identifier: Apache-2.0 */
/* What the original's variables say of the engine lxc. Runs as the caller. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct original_lxc {
    char cpus[16];   /* as --cpus takes it; "": no limit */
    char memory[24]; /* as --memory takes it; "": no limit */
    const char *bridge;
    bool tun;
    bool debug;
};

/* A quota that nobody asked for is left out, with a warning, where the machine's control groups
 * lack what it needs; one that a variable asks for is not. */
int original_lxc_read(struct original_lxc *ret, struct error *err) _must_check_;
