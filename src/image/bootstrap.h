/* SPDX-License-Identifier: Apache-2.0 */
/* The last step of a bootstrap: taking the machine it was made on out of the template. */
#pragma once

#include "base/error.h"
#include "image/apt_sources.h"

/* In the tree below target_fd: an empty /etc/resolv.conf, no /etc/hostname, no proxies in apt's
 * configuration, and where sources is not empty these in /etc/apt/sources.list, without
 * passwords and with their keyrings copied in where they are missing. Paths are resolved
 * without symlinks. May warn. 0 or -errno. */
int bootstrap_finish(int target_fd, const struct apt_sources *sources,
                     struct error *err) _must_check_;
