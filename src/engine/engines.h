/* SPDX-License-Identifier: Apache-2.0 */
/* The engines, for the registry alone. */
#pragma once

#include "engine/engine.h"

extern const struct engine engine_native;
extern const struct engine engine_bwrap;
extern const struct engine engine_oci;
extern const struct engine engine_lxc;
extern const struct engine engine_nspawn;
extern const struct engine engine_chroot;
