/* SPDX-License-Identifier: Apache-2.0 */
/* The last output of a detached sandbox: a ring of frames in a file that isolated makes, init
 * maps and writes, and clients read, with no lock between them. A reader trusts nothing in it:
 * offsets are taken modulo its size, lengths are bounded, and what was overwritten while it was
 * read is noticed by the tail that has passed it. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define LOG_RING_BYTES 262144 /* of frames; a power of two */

struct log_ring; /* mapped */

/* A new one, with all its blocks, so that writing to it never fails. fd or -errno. */
int log_ring_make(int dir_fd, const char *name) _must_check_;
/* Maps one for the writer; the mapping stays until it ends. -EINVAL where the file is none. */
int log_ring_map(int fd, struct log_ring **ret) _must_check_;

/* Appends output of stream 1 or 2. One writer. */
void log_ring_write(struct log_ring *ring, unsigned stream, const void *data, size_t length);
/* The whole output has been written. */
void log_ring_finish(struct log_ring *ring);

/* Reads the frame at *position (0: the oldest) into data (LOG_FRAME_MAX bytes) and moves on:
 * its length, 0 where there is none yet, -ENODATA at the end of all output, -errno. Frames that
 * were overwritten before they could be read are left out. */
#define LOG_FRAME_MAX 4096
int log_ring_read(int fd, uint64_t *position, unsigned *ret_stream,
                  char data[static LOG_FRAME_MAX]) _must_check_;
