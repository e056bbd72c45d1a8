/* SPDX-License-Identifier: Apache-2.0 */
/* Records of streams. Runs in isolate-image as root, reading in a confined child; a stream is
 * hostile. */
#include "image/stream.h"

#include "image/progress.h"
#include "sys/fd.h"

#include <endian.h>
#include <errno.h>
#include <string.h>
#include <unistd.h>

struct record_head {
    char type;
    unsigned char length[4];
};

static struct record_head head_of(enum stream_type type, size_t length)
{
    struct record_head head = {.type = (char)type};
    uint32_t big = htobe32((uint32_t)length);
    memcpy(head.length, &big, sizeof(head.length));
    return head;
}

static int put_counted(struct stream_writer *writer, const void *data, size_t length,
                       struct error *err)
{
    sha256_update(&writer->context, length, data);
    return sink_put(writer->out, data, length, err);
}

static int put_record(struct stream_writer *writer, enum stream_type type, const void *data,
                      size_t length, struct error *err)
{
    const struct record_head head = head_of(type, length);
    int r = put_counted(writer, &head, sizeof(head), err);
    return r < 0 ? r : put_counted(writer, data, length, err);
}

static int put_block(struct stream_writer *writer, struct error *err)
{
    size_t length = writer->used;
    writer->used = 0;
    return length > 0 ? put_record(writer, STREAM_TAR, writer->block, length, err) : 0;
}

static int put_tar(struct sink *sink, const void *data, size_t length, struct error *err)
{
    struct stream_writer *writer = (struct stream_writer *)sink;
    const char *from = data;
    while (length > 0) {
        size_t room = sizeof(writer->block) - writer->used;
        size_t n = length < room ? length : room;
        memcpy(writer->block + writer->used, from, n);
        writer->used += n;
        from += n;
        length -= n;
        int r = writer->used == sizeof(writer->block) ? put_block(writer, err) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

int stream_begin(struct stream_writer *writer, struct sink *out, const char *header,
                 struct error *err)
{
    writer->sink = (struct sink){put_tar};
    writer->out = out;
    writer->used = 0;
    sha256_init(&writer->context);
    if (strlen(header) > STREAM_HEADER_MAX)
        return fail(err, ERROR_INVALID, E2BIG, "the stream's header is too long");
    int r = put_counted(writer, STREAM_MAGIC, strlen(STREAM_MAGIC), err);
    return r < 0 ? r : put_record(writer, STREAM_HEADER, header, strlen(header), err);
}

int stream_put_path(struct stream_writer *writer, enum stream_type type, const char *path,
                    struct error *err)
{
    size_t length = strlen(path);
    return length > STREAM_RECORD_MAX
               ? fail(err, ERROR_UNSUPPORTED, ENAMETOOLONG,
                      "\"%.300s…\" has more than %u bytes, which no stream can have", path,
                      STREAM_RECORD_MAX)
               : put_record(writer, type, path, length, err);
}

int stream_end(struct stream_writer *writer, struct error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    const struct record_head head = head_of(STREAM_END, sizeof(digest));
    int r = put_block(writer, err);
    if (r < 0)
        return r;
    sha256_digest(&writer->context, sizeof(digest), digest);
    r = sink_put(writer->out, &head, sizeof(head), err);
    return r < 0 ? r : sink_put(writer->out, digest, sizeof(digest), err);
}

void stream_open(struct stream_reader *reader, int fd)
{
    reader->fd = fd;
    reader->length = 0;
    sha256_init(&reader->context);
}

static int damaged(const char *why, struct error *err)
{
    return fail(err, ERROR_INVALID, EBADMSG, "the stream is damaged: %s; send it again", why);
}

static int read_exactly(struct stream_reader *reader, void *data, size_t length,
                        struct error *err)
{
    int r = fd_read_exactly(reader->fd, data, length);
    if (r == -ENODATA)
        return fail(err, ERROR_INVALID, EBADMSG, "the stream is cut off; send it again");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "read the stream: ") : 0;
}

/* Not counted yet. */
static int read_record(struct stream_reader *reader, struct record_head *ret, struct error *err)
{
    uint32_t length = 0;
    int r = read_exactly(reader, ret, sizeof(*ret), err);
    if (r < 0)
        return r;
    memcpy(&length, ret->length, sizeof(length));
    length = be32toh(length);
    if (length > STREAM_RECORD_MAX)
        return damaged("a record is too long", err);
    r = read_exactly(reader, reader->block, length, err);
    reader->length = length;
    reader->block[length] = '\0';
    return r;
}

static void count(struct stream_reader *reader, const struct record_head *head)
{
    sha256_update(&reader->context, sizeof(*head), (const uint8_t *)head);
    sha256_update(&reader->context, reader->length, (const uint8_t *)reader->block);
}

int stream_read_header(struct stream_reader *reader, struct error *err)
{
    char magic[sizeof(STREAM_MAGIC) - 1];
    struct record_head head = {0};
    int r = read_exactly(reader, magic, sizeof(magic), err);
    if (r == 0 && memcmp(magic, STREAM_MAGIC, sizeof(magic)) != 0)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "this is no stream of `isolate template send`, or one of another version");
    if (r == 0)
        r = read_record(reader, &head, err);
    if (r < 0)
        return r;
    if (head.type != STREAM_HEADER || reader->length > STREAM_HEADER_MAX ||
        strlen(reader->block) != reader->length)
        return damaged("its header is none", err);
    sha256_update(&reader->context, sizeof(magic), (const uint8_t *)magic);
    count(reader, &head);
    return 0;
}

void stream_resume(struct stream_reader *reader, const char *header)
{
    const struct record_head head = head_of(STREAM_HEADER, strlen(header));
    sha256_update(&reader->context, strlen(STREAM_MAGIC), (const uint8_t *)STREAM_MAGIC);
    sha256_update(&reader->context, sizeof(head), (const uint8_t *)&head);
    sha256_update(&reader->context, strlen(header), (const uint8_t *)header);
}

static int check_end(struct stream_reader *reader, struct error *err)
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    char more = 0;
    sha256_digest(&reader->context, sizeof(digest), digest);
    if (reader->length != sizeof(digest) || memcmp(reader->block, digest, sizeof(digest)) != 0)
        return damaged("its digest is another one", err);
    ssize_t n = 0;
    do
        n = read(reader->fd, &more, 1);
    while (n < 0 && errno == EINTR);
    return n == 0  ? STREAM_END
           : n < 0 ? fail(err, ERROR_SYSTEM, errno, "read the stream: ")
                   : damaged("something follows its end", err);
}

int stream_read(struct stream_reader *reader, struct error *err)
{
    struct record_head head;
    int r = read_record(reader, &head, err);
    if (r < 0)
        return r;
    switch (head.type) {
    case STREAM_END:
        return check_end(reader, err);
    case STREAM_GONE:
    case STREAM_REPLACED:
        if (strlen(reader->block) != reader->length)
            return damaged("a path is none", err);
        break;
    case STREAM_TAR:
        break;
    default:
        return damaged("a record is of an unknown kind", err);
    }
    count(reader, &head);
    return head.type;
}

int stream_read_payload(struct stream_reader *reader, struct sink *to,
                        struct progress *progress, struct error *err)
{
    for (;;) {
        int type = stream_read(reader, err);
        if (type < 0 || type == STREAM_END)
            return type < 0 ? type : 0;
        if (type != STREAM_TAR)
            return damaged("it has other records than its kind may", err);
        int r = sink_put(to, reader->block, reader->length, err);
        if (r < 0)
            return r;
        progress_input(progress, reader->length);
    }
}
