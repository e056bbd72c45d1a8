/* SPDX-License-Identifier: Apache-2.0 */
/* Names below a directory that is held open: no path ever leaves it, whatever it contains.
 * Needs only the rights to the directories. */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define BENEATH_DEPTH_MAX 1024

/* Puts a relative path into its only form: no leading, doubled or trailing "/", no ".". The
 * result, at most as long as the input, is "" for the root itself; out must hold strlen(path) +
 * 1 bytes. Refused with -EPERM and ERROR_DENIED: absolute paths and ".."; with ERROR_INVALID:
 * components of more than 255 bytes, more than BENEATH_DEPTH_MAX components. Pure. */
int beneath_normalize(const char *path, char *out, struct error *err) _must_check_;

/* Opens a directory (O_PATH) below root_fd, by a normalized path of any length; "" is the root.
 * An fd of the caller's, or -errno: -ELOOP where a component is a symlink, -ENOTDIR where it is
 * another non-directory, -ENOENT, -EXDEV where something is mounted there. */
int beneath_open(int root_fd, const char *path) _must_check_;

/* The same through symlinks, which lead where they would if root_fd were "/", and for paths
 * below PATH_MAX only. -ENOENT also where one leads nowhere, -ELOOP where they lead in circles.
 */
int beneath_open_inside(int root_fd, const char *path) _must_check_;

/* Opens the parent of the last component of a normalized path and points *ret_name to that
 * component inside path. */
int beneath_open_parent(int root_fd, const char *path, const char **ret_name) _must_check_;

/* The error for writing `path` of `bytes` bytes (0: unknown) below fd's file system: -errnum. A
 * full disk is told with what was needed and what is free. */
int beneath_write_failed(int fd, int errnum, const char *path, uint64_t bytes,
                         struct error *err);
