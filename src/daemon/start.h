/* SPDX-License-Identifier: Apache-2.0 */
/* The ways in which isolated runs. Each returns its exit status. */
#pragma once

#include "daemon/daemon.h"

/* oneshot.c: one client at the other end of fd. */
int oneshot_main(int fd);
/* resident.c: the daemon. */
int resident_main(void);
/* What could not be taken away is tried again in a second, then less and less often. */
void resident_recover_soon(struct daemon *daemon);
