/* SPDX-License-Identifier: Apache-2.0 */
/* What makes one tree of another: the paths that are gone, and an archive of what is new or
 * different, with the root and all directories that lead there. A file counts as the same when
 * nothing that image_hash looks at differs, its content included. Runs in isolate-image as root
 * over trees that are hostile and do not change. Changes the working directory and restores it.
 */
#pragma once

#include "image/stream.h"

struct progress;

int image_delta(int base_fd, int root_fd, struct stream_writer *stream,
                struct progress *progress, struct error *err) _must_check_;
