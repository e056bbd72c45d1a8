/* SPDX-License-Identifier: Apache-2.0 */
/* The way to isolated. Runs as the caller, who must be root where there is no resident daemon.
 */
#pragma once

#include "varlink/varlink.h"

/* Connects to the resident daemon: at ISOLATE_SOCKET, or at its usual place; where there is
 * none at the latter, or ISOLATE_SOCKET is empty, starts `isolated --oneshot` at the other end
 * of a new connection. */
int client_connect(struct varlink *ret, struct error *err) _must_check_;

/* The first half of it: 1 connected, 0 where no daemon is, -errno. */
int client_connect_resident(struct varlink *ret, struct error *err) _must_check_;

/* Full path of an installed helper ("isolate-ctl"): ISOLATE_LIBEXEC_DIR, else the installed
 * one. */
void client_helper_path(const char *name, char *out, size_t size);
