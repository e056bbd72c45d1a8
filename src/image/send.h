/* SPDX-License-Identifier: Apache-2.0 */
/* Generations as streams (image/stream.h). Run as root in isolate-image. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

struct progress;

/* Writes a stream of the tree below root_fd, or where base_fd >= 0 of what differs from that
 * one. about: JSON, the header but for tree and payload. Changes the working directory and
 * restores it. */
struct image_sending {
    int root_fd;
    int base_fd; /* -EBADF: all of it */
    int out_fd;
    const char *about;
};
int image_send(const struct image_sending *sending, struct progress *progress,
               struct error *err) _must_check_;

/* Reads the beginning of a stream and prints the header to stdout, as it is. */
int image_receive_header(int stream_fd, struct error *err) _must_check_;

/* Reads the rest, behind that header, into tree_fd: what is gone is removed there or, for a
 * layer (overlayfs), marked as gone; the archive is unpacked over what is there. Two confined
 * children read the stream; nothing is to be used of the tree unless 0 is returned. */
struct image_receiving {
    int stream_fd;
    int tree_fd;
    bool is_layer;
    const char *header;
};
int image_receive(const struct image_receiving *receiving, struct progress *progress,
                  struct error *err) _must_check_;
