/* SPDX-License-Identifier: Apache-2.0 */
/* The stream that a template travels in from one isolate to another.
 *
 *   "isolate-template-stream-1\n", then records: a letter, the length of its data in 4 bytes
 *   (most significant first), the data, at most STREAM_RECORD_MAX bytes:
 *     H  the header, JSON, at most STREAM_HEADER_MAX bytes; the first record, and only that
 *     D  a path of the base that is gone
 *     R  a path of the base that is now of another type
 *     T  a part of a pax archive; all D and R come before it. Or of a driver's own stream, by
 *        itself
 *     E  the SHA-256 of everything before this record, the last one; nothing follows it
 *
 * The header: driver, template, generation, identity, created, pinned, source of what was sent;
 * payload: "tar", or a driver's name; tree, the image_hash of the generation, with "tar"; base
 * (generation, identity) where the stream holds only what differs from that one. Runs in
 * isolate-image. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "image/sink.h"

#include <nettle/sha2.h>
#include <stdint.h>

struct progress;

#define STREAM_MAGIC      "isolate-template-stream-1\n"
#define STREAM_RECORD_MAX (1U << 18)
#define STREAM_HEADER_MAX 98304U /* less than an argument of a program may have */

enum stream_type {
    STREAM_HEADER = 'H',
    STREAM_GONE = 'D',
    STREAM_REPLACED = 'R',
    STREAM_TAR = 'T',
    STREAM_END = 'E',
};

/* What is put into it becomes T records. */
struct stream_writer {
    struct sink sink;
    struct sink *out; /* borrowed */
    struct sha256_ctx context;
    size_t used; /* of block: not written yet */
    char block[STREAM_RECORD_MAX];
};
int stream_begin(struct stream_writer *writer, struct sink *out, const char *header,
                 struct error *err) _must_check_;
int stream_put_path(struct stream_writer *writer, enum stream_type type, const char *path,
                    struct error *err) _must_check_;
int stream_end(struct stream_writer *writer, struct error *err) _must_check_;

/* Reads exactly what it returns: what follows stays in the pipe. Everything is hostile until
 * the E record was right; -EBADMSG with ERROR_INVALID for all that is no such stream. */
struct stream_reader {
    int fd; /* borrowed */
    struct sha256_ctx context;
    size_t length;                     /* of the record that was read last */
    char block[STREAM_RECORD_MAX + 1]; /* its data, and a NUL */
};
void stream_open(struct stream_reader *reader, int fd);
/* The header, in reader->block, without a NUL in it. */
int stream_read_header(struct stream_reader *reader, struct error *err) _must_check_;
/* In the place of that, where somebody else has read it. */
void stream_resume(struct stream_reader *reader, const char *header);
/* Takes all T records to where they go, in a stream that has no others: 0 once its digest was
 * right. */
int stream_read_payload(struct stream_reader *reader, struct sink *to,
                        struct progress *progress, struct error *err) _must_check_;
/* The next record's letter; STREAM_END once the digest was right and nothing follows. */
int stream_read(struct stream_reader *reader, struct error *err) _must_check_;
