/* SPDX-License-Identifier: Apache-2.0 */
/* The host's network brings the host's abstract unix sockets along (X11, D-Bus…), which no file
 * permission guards. Landlock closes them since kernel 6.12 (ABI 6); an older kernel cannot.
 * Source: landlock(7). */
#pragma once

#include "base/error.h"

/* From here on this process and its children reach no abstract socket that others have made. 0
 * also where the kernel cannot. Needs no_new_privs or CAP_SYS_ADMIN. */
int scope_sockets(struct error *err) _must_check_;
