/* SPDX-License-Identifier: Apache-2.0 */
/* Templates on their way out. Everything here runs as root in isolate-image (image.h). */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct progress;
struct sink;
struct tar_writer;

/* Writes the tree below root_fd as a pax archive: the whole of it, in the order of the walk,
 * and the same bytes for the same tree on the same storage (holes are where the file system has
 * them). Unpacked by image_extract it has the same image_hash. */
int image_export(int root_fd, struct sink *sink, struct progress *progress,
                 struct error *err) _must_check_;

/* Says to progress how many bytes of content there are to be read below root_fd, where it
 * draws: that takes a walk. */
void image_expect(int root_fd, struct progress *progress);

/* image_export as a layer of an OCI image: no sparse files, which its readers do not know, and
 * nothing whose name means that something is deleted (".wh."). */
int image_export_layer(int root_fd, struct sink *sink, struct progress *progress,
                       struct error *err) _must_check_;

/* What an image says of itself. */
struct image_oci {
    const char *tag;
    int64_t created;      /* seconds since 1970 */
    const char *defaults; /* JSON of what it says of commands (spec/defaults.h) */
};
/* As an image of one layer, gzip, into an OCI image layout, which is made where the directory
 * is empty. Other images in it stay, but for one of the same tag, which loses it. Needs /proc.
 */
int image_export_oci(int root_fd, int layout_fd, const struct image_oci *about,
                     struct progress *progress, struct error *err) _must_check_;

/* image_export to a file or pipe, which is not closed. */
int image_export_tar(int root_fd, int out_fd, struct progress *progress,
                     struct error *err) _must_check_;
