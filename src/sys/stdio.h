/* SPDX-License-Identifier: Apache-2.0 */
/* What may become the stdin, stdout and stderr of a command that is shut in: an fd of a
 * directory would be a way out. */
#pragma once

#include "base/error.h"

/* 0, or an error that names it where it is a directory, an O_PATH descriptor or a block device.
 */
int stdio_check(int fd, const char *name, struct error *err) _must_check_;
