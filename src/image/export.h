/* SPDX-License-Identifier: Apache-2.0 */
/* Templates on their way out. Everything here runs as root in isolate-image (image.h). */
#pragma once

#include "base/error.h"

struct progress;
struct sink;
struct tar_writer;

/* Writes the tree below root_fd as a pax archive: the whole of it, in the order of the walk,
 * and the same bytes for the same tree on the same storage (holes are where the file system has
 * them). Unpacked by image_extract it has the same image_hash. */
int image_export(int root_fd, struct sink *sink, struct progress *progress,
                 struct error *err) _must_check_;

/* The same to a file or pipe, which is not closed. */
int image_export_tar(int root_fd, int out_fd, struct progress *progress,
                     struct error *err) _must_check_;
