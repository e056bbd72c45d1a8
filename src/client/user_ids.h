/* SPDX-License-Identifier: Apache-2.0 */
/* -u and -g of who is not root: a user namespace whose 0 to 65535 are subordinate ids of the
 * caller's, which newuidmap(1) and newgidmap(1) give to nobody else. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* An fd of such a namespace, or -errno. Both programs are set-user-id: to be called before
 * no_new_privs. Blocks for as long as they take. */
int user_ids_make(uint32_t uid_base, uint32_t gid_base, struct error *err) _must_check_;

/* This process becomes root of it: it loses the caller's ids and groups, and with them the
 * right to whatever is not everybody's. */
int user_ids_enter(int userns_fd, struct error *err) _must_check_;
