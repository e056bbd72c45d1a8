/* SPDX-License-Identifier: Apache-2.0 */
/* AppArmor, where the kernel has it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

/* Whether processes can be put into that profile: it is loaded, and the kernel mediates mounts
 * (without which LXC wants none). As root, where securityfs is in its place; else false. */
bool apparmor_has_profile(const char *name);

/* Whether the caller is in that profile, or below it: 0, or -EPERM. Needs a proc. */
int apparmor_check(const char *name) _must_check_;
