/* SPDX-License-Identifier: Apache-2.0 */
/* JSON that an option names as a file. Read as the caller. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stddef.h>

/* path: or "-" for standard input; option is for messages. At most max bytes, a multiple of a
 * MiB. *ret is the caller's. */
int json_file_read(const char *option, const char *path, size_t max, json_t **ret,
                   struct error *err) _must_check_;
