/* SPDX-License-Identifier: Apache-2.0 */
/* Commands of a btrfs stream. Runs in a confined child of isolate-image. */
#include "image/btrfs_stream.h"

#include <endian.h>
#include <errno.h>
#include <string.h>

#define MAGIC "btrfs-stream" /* and its NUL */

struct stream_head {
    char magic[sizeof(MAGIC)];
    uint32_t version;
} __attribute__((packed));

struct command_head {
    uint32_t length; /* of what follows */
    uint16_t type;
    uint32_t crc;
} __attribute__((packed));

struct attribute_head {
    uint16_t type;
    uint16_t length;
} __attribute__((packed));

struct wire_time {
    uint64_t seconds;
    uint32_t nanoseconds;
} __attribute__((packed));

static int damaged(const char *why, struct error *err)
{
    return fail(err, ERROR_INVALID, EBADMSG, BTRFS_STREAM_DAMAGED "%s", why);
}

/* An attribute of that many bytes. */
static int get_exactly(const struct btrfs_command *command, enum btrfs_attribute_type type,
                       void *ret, size_t length, struct error *err)
{
    const struct btrfs_attribute *attribute = &command->attributes[type];
    if (!attribute->data || attribute->length != length)
        return fail(err, ERROR_INVALID, EBADMSG,
                    BTRFS_STREAM_DAMAGED "a command %d has no right attribute %d",
                    command->type, type);
    memcpy(ret, attribute->data, length);
    return 0;
}

int btrfs_get_number(const struct btrfs_command *command, enum btrfs_attribute_type type,
                     uint64_t *ret, struct error *err)
{
    uint64_t number = 0;
    int r = get_exactly(command, type, &number, sizeof(number), err);
    *ret = le64toh(number);
    return r;
}

int btrfs_get_time(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   struct timespec *ret, struct error *err)
{
    struct wire_time time = {0};
    int r = get_exactly(command, type, &time, sizeof(time), err);
    if (r < 0)
        return r;
    ret->tv_sec = (time_t)le64toh(time.seconds);
    ret->tv_nsec = (long)le32toh(time.nanoseconds);
    return ret->tv_nsec < 1000000000 ? 0 : damaged("a time is none", err);
}

int btrfs_get_uuid(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   uint8_t ret[static BTRFS_UUID_SIZE], struct error *err)
{
    return get_exactly(command, type, ret, BTRFS_UUID_SIZE, err);
}

int btrfs_get_text(const struct btrfs_command *command, enum btrfs_attribute_type type,
                   char **ret, struct error *err)
{
    const struct btrfs_attribute *attribute = &command->attributes[type];
    if (!attribute->data || memchr(attribute->data, '\0', attribute->length))
        return fail(err, ERROR_INVALID, EBADMSG,
                    BTRFS_STREAM_DAMAGED "a command %d has no right text %d", command->type,
                    type);
    *ret = strndup(attribute->data, attribute->length);
    return *ret ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
}

static int read_attributes(const char *at, size_t length, struct btrfs_command *command,
                           struct error *err)
{
    while (length > 0) {
        struct attribute_head head;
        if (length < sizeof(head))
            return damaged("an attribute is cut off", err);
        memcpy(&head, at, sizeof(head));
        size_t type = le16toh(head.type);
        size_t bytes = le16toh(head.length);
        at += sizeof(head);
        length -= sizeof(head);
        if (bytes > length)
            return damaged("an attribute is longer than its command", err);
        /* those that are not known say nothing that is used */
        if (type < _BTRFS_ATTRIBUTES && command->attributes[type].data)
            return damaged("an attribute is there twice", err);
        if (type < _BTRFS_ATTRIBUTES)
            command->attributes[type] = (struct btrfs_attribute){at, bytes};
        at += bytes;
        length -= bytes;
    }
    return 0;
}

static int take_head(struct btrfs_stream *stream, struct error *err)
{
    struct stream_head head;
    memcpy(&head, stream->block, sizeof(head));
    if (memcmp(head.magic, MAGIC, sizeof(MAGIC)) != 0)
        return damaged("it is none of btrfs", err);
    if (le32toh(head.version) != BTRFS_STREAM_VERSION)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "the stream of btrfs has version %u, and only %d is known here; send it "
                    "without --native",
                    le32toh(head.version), BTRFS_STREAM_VERSION);
    stream->begun = true;
    stream->used = 0;
    stream->wanted = sizeof(struct command_head);
    return 0;
}

static int take_command(struct btrfs_stream *stream, struct error *err)
{
    struct command_head head;
    memcpy(&head, stream->block, sizeof(head));
    size_t length = le32toh(head.length);
    if (length > sizeof(stream->block) - sizeof(head))
        return damaged("a command is too long", err);
    if (stream->used < sizeof(head) + length) {
        stream->wanted = sizeof(head) + length;
        return 0;
    }
    uint16_t type = le16toh(head.type);
    struct btrfs_command command = {.type = type};
    if (type == 0 || type >= _BTRFS_COMMANDS)
        return damaged("a command is of an unknown kind", err);
    int r = read_attributes(stream->block + sizeof(head), length, &command, err);
    stream->used = 0;
    stream->wanted = sizeof(head);
    return r < 0 ? r : stream->callback(&command, stream->data, err);
}

void btrfs_stream_begin(struct btrfs_stream *stream)
{
    stream->begun = false;
    stream->used = 0;
    stream->wanted = sizeof(struct stream_head);
}

int btrfs_stream_put(struct btrfs_stream *stream, const char *data, size_t length,
                     struct error *err)
{
    int r = 0;
    while (r == 0 && length > 0) {
        size_t missing = stream->wanted - stream->used;
        size_t n = length < missing ? length : missing;
        memcpy(stream->block + stream->used, data, n);
        stream->used += n;
        data += n;
        length -= n;
        if (stream->used == stream->wanted)
            r = stream->begun ? take_command(stream, err) : take_head(stream, err);
    }
    return r;
}
