/* SPDX-License-Identifier: Apache-2.0 */
/* Capability sets as bit masks, and their names. Source: capabilities(7). */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define CAP_BIT(capability) (UINT64_C(1) << (capability))

/* What uid 0 of a sandbox holds by default: the container engines' common set without NET_RAW,
 * MKNOD, AUDIT_WRITE and SETFCAP (DESIGN.md, section 5). */
uint64_t caps_default(void);

/* All capabilities that isolate knows by name. */
uint64_t caps_all(void);

/* "NET_ADMIN", "cap_net_admin" and "ALL" to a mask, 0 where the name is unknown. */
uint64_t caps_from_name(const char *name);

/* "CAP_NET_ADMIN", or NULL for a number that has no name. */
const char *caps_name(unsigned capability);

/* Takes everything outside of mask out of the bounding set. Needs CAP_SETPCAP. */
int caps_bound(uint64_t mask) _must_check_;

/* Sets permitted = effective = mask, inheritable = ambient = none. */
int caps_set(uint64_t mask) _must_check_;

/* The effective set, and nothing else of the process. */
int caps_effective(uint64_t *ret) _must_check_;
int caps_set_effective(uint64_t mask) _must_check_;
