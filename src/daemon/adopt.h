/* SPDX-License-Identifier: Apache-2.0 */
/* Taking over what an earlier isolated left running. */
#pragma once

#include "daemon/daemon.h"

/* Every sandbox that runs and whose record nobody holds becomes this daemon's. */
int adopt_all(struct daemon *daemon, struct error *err) _must_check_;
