/* SPDX-License-Identifier: Apache-2.0 */
/* What comes out of a sandbox: a tar archive that it sends, which may be any. */
#pragma once

#include "base/error.h"

#include <sys/types.h>

/* Reads the archive from stream_fd (borrowed) to its end and makes the file or directory `name`
 * of it in directory_fd, with all that is below it ("." is whatever it holds): files,
 * directories, symlinks and hard links, as the caller's own, with their times and modes less
 * the mask and set-id bits. An entry of any other name ends it; devices, FIFOs and sockets are
 * left out, which is an error at the end. No symlink is followed below directory_fd, and what
 * has a file's name is replaced. Confines this process and changes its directory. */
int image_take(int stream_fd, int directory_fd, const char *name, mode_t mask,
               struct error *err) _must_check_;
