/* SPDX-License-Identifier: Apache-2.0 */
/* How much of the machine a member has, and may have. */
#pragma once

#include "daemon/daemon.h"
#include "spec/policy.h"

/* What a member asks for. */
struct wanted {
    const struct peer *peer;
    const struct run_request *request;
    const char *template_name; /* "": none that has a name */
    const struct policy_rights *rights;
};

/* -EDQUOT where there are as many sandboxes, or kept ones, as the caller may have, in all or of
 * that template. */
int policy_check_quota(struct daemon *daemon, const struct wanted *wanted,
                       struct error *err) _must_check_;
