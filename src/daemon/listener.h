/* SPDX-License-Identifier: Apache-2.0 */
/* The socket of a resident isolated. */
#pragma once

#include "daemon/daemon.h"

/* Takes the socket that the service manager made, or makes RuntimeDirectory/io.isolate (0660,
 * root and the configured group), and serves it. What was there of an earlier daemon is
 * replaced.
 */
int listener_open(struct daemon *daemon, struct error *err) _must_check_;
/* The configuration has changed: Group=. */
void listener_reload(struct daemon *daemon);
/* Whether connections are taken (callers.h). */
void listener_listen(struct daemon *daemon, bool on);
void listener_close(struct daemon *daemon);
