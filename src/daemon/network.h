/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's side of isolate-network, which makes the network of a sandbox that asks for more
 * than its own loopback or the machine's. */
#pragma once

#include "daemon/sandbox.h"

/* Whether the network is made by isolate-network. */
bool network_is_made(const struct network *network);

/* Whether what makes it is installed: -errno with what to install. */
int network_require(const struct network *network, struct error *err) _must_check_;

/* What would be executed for it, each argument ended by NUL; nothing where nothing is. */
void network_arguments(const struct network *network, struct buffer *ret);

/* Starts to make it for a sandbox that is parked: sandbox_on_network follows, or the end of the
 * sandbox. Does not wait. */
int network_start(struct sandbox *sandbox, struct error *err) _must_check_;

/* Forgets it; everything of it is ended by the cgroup's end, and with init's. */
void network_forget(struct sandbox *sandbox);
