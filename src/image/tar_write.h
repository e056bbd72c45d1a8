/* SPDX-License-Identifier: Apache-2.0 */
/* Entries of a tree as a pax archive (image/pax.h). Runs in isolate-image as root over trees
 * that are hostile: nothing is followed. */
#pragma once

#include "base/buffer.h"
#include "image/links.h"
#include "image/pax.h"
#include "image/sink.h"

#include <stdbool.h>

struct progress;

struct tar_writer {
    struct sink *sink; /* borrowed */
    struct progress *progress;
    bool no_holes; /* zeros instead: readers of OCI layers know no sparse files */
    struct links links;
    struct buffer header;
    char *block;
    struct pax_segment *segments;
    bool warned;
};

#define _cleanup_tar_writer_ _cleanup_(tar_writer_clear)
int tar_writer_init(struct tar_writer *writer, struct sink *sink, struct progress *progress,
                    struct error *err) _must_check_;
void tar_writer_clear(struct tar_writer *writer);

/* Writes one entry of a walk; directory_fd: of a directory, readable. Of a file with several
 * links all but the first become hard links. Sockets are left out, with a warning about the
 * first; mount points become empty. Changes the working directory. err names the entry. */
int tar_write_entry(struct tar_writer *writer, const struct walk_entry *entry, int directory_fd,
                    struct error *err) _must_check_;

/* The end of the archive. */
int tar_write_end(struct tar_writer *writer, struct error *err) _must_check_;
