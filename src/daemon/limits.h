/* SPDX-License-Identifier: Apache-2.0 */
/* Limits of a sandbox by its cgroup, bound at the claim: what is parked has none. A controller
 * is enabled for the sandboxes' groups when a limit first needs it, because every group that is
 * made costs more with it. */
#pragma once

#include "spec/limits.h"

#include "base/error.h"

#include <jansson.h>

/* Before anything is built: makes sure that the limits can be set in groups below parent_fd.
 * ERROR_UNSUPPORTED says which controller is missing, where, and what to do. Writes to kernel
 * files only, and without enable to none; as root. */
int limits_require(int parent_fd, const struct run_limits *limits, bool enable,
                   struct error *err) _must_check_;

/* Writes them into the sandbox's group. */
int limits_apply(int leaf_fd, const struct run_limits *limits, struct error *err) _must_check_;

/* {memory_bytes, swap_bytes, cpus_milli, pids, cpuset, io_weight}: what the kernel has of them
 * for the group; NULL where there is no limit. */
json_t *limits_to_json(int leaf_fd);

/* The same, and disk_bytes, of what limits_apply would write. */
json_t *limits_wanted_to_json(const struct run_limits *limits);
