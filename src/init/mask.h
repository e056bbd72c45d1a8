/* SPDX-License-Identifier: Apache-2.0 */
/* What of /sys and /proc is hidden from sandboxes or read-only there (sys/hidden.h), as mounts
 * over it. Needs CAP_SYS_ADMIN in the user namespace of the mount namespace. */
#pragma once

#include "base/error.h"

int mask_in_sys(struct error *err) _must_check_;
/* null_path: where the host's /dev/null is mounted, which covers files; NULL where there are
 * none to be hidden. */
int mask_in_proc(const char *null_path, struct error *err) _must_check_;
/* The part of it that makes read-only. */
int mask_read_only_in_proc(struct error *err) _must_check_;
