/* SPDX-License-Identifier: Apache-2.0 */
/* What a caller may do. Until policies can be configured: root everything, members what stays
 * within a sandbox of a registered template. */
#pragma once

#include "daemon/daemon.h"

/* -EPERM, naming the option, where the caller may not ask for it; -EDQUOT where it has too much
 * already. */
int policy_check_run(struct daemon *daemon, const struct peer *peer,
                     const struct run_request *request, struct error *err) _must_check_;
