/* SPDX-License-Identifier: Apache-2.0 */
/* `isolated --keeper`: the one process of isolate-sandboxes.service. It moves itself into the
 * subgroup CGROUP_KEEPER of the unit's cgroup, so that the sandboxes' leaves can lie beside it
 * and controllers be enabled for them, tells the service manager that it is ready, and sleeps.
 */
#pragma once

#include "base/cleanup.h"

/* Blocks until SIGTERM or SIGINT. An exit status. As root, in a delegated cgroup that is not
 * the root of the hierarchy. */
int keeper_main(void) _must_check_;
