/* SPDX-License-Identifier: Apache-2.0 */
/* Blobs and their compression. Runs in isolate-image as root; the directory is the caller's. */
#include "image/blob.h"

#include "base/text.h"
#include "sys/fd.h"

#include <errno.h>

static int blob_failed(int errnum, struct error *err)
{
    return fail(err, error_code_of_errno(errnum < 0 ? -errnum : errnum), errnum,
                "write a blob: ");
}

static int blob_put(struct sink *sink, const void *data, size_t length, struct error *err)
{
    struct blob *blob = (struct blob *)sink;
    int r = fd_write_all(blob->file.fd, data, length);
    if (r < 0)
        return blob_failed(r, err);
    sha256_update(&blob->context, length, data);
    blob->size += length;
    return 0;
}

int blob_begin(struct blob *blob, int blobs_fd, struct error *err)
{
    *blob = (struct blob){.sink = {blob_put}, .file = {.fd = -EBADF}};
    sha256_init(&blob->context);
    int r = new_file_make(blobs_fd, 0600, &blob->file);
    return r < 0 ? blob_failed(r, err) : 0;
}

void blob_end(struct blob *blob)
{
    digest_text(&blob->context, blob->digest);
}

int blob_keep(struct blob *blob, struct error *err)
{
    int r = new_file_keep(&blob->file, text_after(blob->digest, "sha256:"));
    return r < 0 ? blob_failed(r, err) : 0;
}

int blob_of(int blobs_fd, const char *text, size_t length, struct blob *ret, struct error *err)
{
    int r = blob_begin(ret, blobs_fd, err);
    if (r == 0)
        r = sink_put(&ret->sink, text, length, err);
    if (r == 0)
        blob_end(ret);
    return r;
}

void blob_clear(struct blob *blob)
{
    if (blob->sink.put)
        new_file_clear(&blob->file);
}

/* Has zlib take its input, or with Z_FINISH write its end, and passes on what comes out. */
static int gzip_run(struct gzip_sink *gzip, int flush, struct error *err)
{
    int z = Z_OK;
    do {
        gzip->stream.next_out = (Bytef *)gzip->block;
        gzip->stream.avail_out = sizeof(gzip->block);
        z = deflate(&gzip->stream, flush);
        if (z == Z_STREAM_ERROR)
            return fail(err, ERROR_SYSTEM, EIO, "compress: zlib's state is broken");
        size_t n = sizeof(gzip->block) - gzip->stream.avail_out;
        int r = n > 0 ? sink_put(gzip->next, gzip->block, n, err) : 0;
        if (r < 0)
            return r;
    } while (flush == Z_FINISH ? z != Z_STREAM_END : gzip->stream.avail_out == 0);
    return 0;
}

static int gzip_put(struct sink *sink, const void *data, size_t length, struct error *err)
{
    struct gzip_sink *gzip = (struct gzip_sink *)sink;
    sha256_update(&gzip->plain, length, data);
    gzip->stream.next_in = (Bytef *)data;
    gzip->stream.avail_in = (uInt)length;
    return gzip_run(gzip, Z_NO_FLUSH, err);
}

int gzip_begin(struct gzip_sink *gzip, struct sink *next, struct error *err)
{
    *gzip = (struct gzip_sink){.next = next};
    sha256_init(&gzip->plain);
    /* 16: the format of gzip(1), with nothing in its header */
    if (deflateInit2(&gzip->stream, Z_DEFAULT_COMPRESSION, Z_DEFLATED, 15 + 16, 8,
                     Z_DEFAULT_STRATEGY) != Z_OK)
        return fail(err, ERROR_SYSTEM, ENOMEM, "compress: ");
    gzip->sink.put = gzip_put;
    return 0;
}

int gzip_end(struct gzip_sink *gzip, struct error *err)
{
    gzip->stream.next_in = NULL;
    gzip->stream.avail_in = 0;
    return gzip_run(gzip, Z_FINISH, err);
}

void gzip_clear(struct gzip_sink *gzip)
{
    if (gzip->sink.put)
        (void)deflateEnd(&gzip->stream);
    gzip->sink.put = NULL;
}
