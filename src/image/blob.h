/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs of an OCI layout on their way out: files named by their SHA-256, which appear when they
 * are complete, for root only: a template may hold what nobody else may read. -errno, with
 * ERROR_NO_SPACE for a full disk. Run as root in isolate-image. */
#pragma once

#include "image/digest.h"
#include "image/sink.h"
#include "sys/new_file.h"

#include <stdint.h>
#include <zlib.h>

/* Bytes into one blob. */
struct blob {
    struct sink sink;
    struct new_file file;
    struct sha256_ctx context;
    uint64_t size;
    char digest[DIGEST_TEXT]; /* once it is ended */
};
int blob_begin(struct blob *blob, int blobs_fd, struct error *err) _must_check_;
void blob_end(struct blob *blob);
/* It appears. */
int blob_keep(struct blob *blob, struct error *err) _must_check_;
/* A whole one, ended. */
int blob_of(int blobs_fd, const char *text, size_t length, struct blob *ret,
            struct error *err) _must_check_;
#define _cleanup_blob_ _cleanup_(blob_clear)
void blob_clear(struct blob *blob);

/* Bytes through gzip into another sink, the same for the same bytes: no name, no time. */
struct gzip_sink {
    struct sink sink;
    struct sink *next;
    struct sha256_ctx plain; /* of what goes in */
    z_stream stream;
    char block[64 * 1024];
};
int gzip_begin(struct gzip_sink *gzip, struct sink *next, struct error *err) _must_check_;
int gzip_end(struct gzip_sink *gzip, struct error *err) _must_check_;
#define _cleanup_gzip_ _cleanup_(gzip_clear)
void gzip_clear(struct gzip_sink *gzip);
