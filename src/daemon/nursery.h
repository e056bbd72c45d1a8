/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's side of the nursery. */
#pragma once

#include "daemon/daemon.h"

/* Starts the nursery in its small mount namespace; daemon->nursery_fd leads to it. It ends with
 * isolated. */
int nursery_start(struct daemon *daemon, struct error *err) _must_check_;
