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
    bool is_btrfs; /* both are subvolumes, read-only: btrfs tells what is in them */
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

/* btrfs.c: what btrfs sends of a subvolume, to the sink. */
struct sink;
int image_send_btrfs(int root_fd, int base_fd, struct sink *sink, struct progress *progress,
                     struct error *err) _must_check_;

/* native.c: a stream of what the program of a storage driver writes, with that header; what the
 * program wrote counts only where it ended well. */
int image_send_native(int out_fd, const char *header, const char *const *argv,
                      struct progress *progress, struct error *err) _must_check_;

/* Copies what is in such a stream, behind that header, into an empty file, or where that is one
 * of btrfs, makes of the tree that is dir_fd what it says: all of it, with the right digest,
 * where 0 is returned. A confined child does it, shut up in the directory. */
struct image_native {
    int stream_fd;
    bool is_btrfs;
    int payload_fd; /* the file */
    int dir_fd;
    const char *header;
};
int image_receive_native(const struct image_native *native, struct progress *progress,
                         struct error *err) _must_check_;
