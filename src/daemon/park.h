/* SPDX-License-Identifier: Apache-2.0 */
/* The sockets by which isolated comes back to an init after a restart:
 * RuntimeDirectory/parks/ID, which only root can reach. */
#pragma once

#include "daemon/daemon.h"

/* A listening socket for a new init. fd or -errno with err set. */
int park_listen(struct daemon *daemon, const char *id, struct error *err) _must_check_;
/* Connects to the init of a sandbox that runs, without waiting for it. fd or -errno. */
int park_connect(struct daemon *daemon, const char *id) _must_check_;
/* 0 also where there is none. */
int park_remove(struct daemon *daemon, const char *id, struct error *err) _must_check_;
