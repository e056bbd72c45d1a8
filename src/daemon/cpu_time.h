/* SPDX-License-Identifier: Apache-2.0 */
/* --cpu-time: all processes of a sandbox together. Init watches it by a file of the cgroup that
 * it is handed, so that it holds without isolated, too; isolated backs that up, since what runs
 * in a sandbox may have taken over its init. */
#pragma once

#include "daemon/sandbox.h"

/* What init is to read, where there is such a limit; else *ret_fd stays. */
int cpu_time_open(const struct sandbox *sandbox, int *ret_fd, struct error *err) _must_check_;

/* Its command runs from now on, or has before it was adopted. */
int cpu_time_watch(struct sandbox *sandbox, bool adopted, struct error *err) _must_check_;
