/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's side of the nursery. */
#pragma once

#include "daemon/daemon.h"

/* Starts the nursery in its small mount namespace, in the place of one that there was;
 * daemon->nursery_fd leads to it. It ends with isolated. When it dies, so does the builder,
 * which cannot do without; that starts both again. */
int nursery_start(struct daemon *daemon, struct error *err) _must_check_;

/* Waits for those that were cloned and have ended, but whose builder died before it could say
 * so: they are children of isolated's that nothing in it knows of. */
void nursery_reap_lost(struct daemon *daemon);
