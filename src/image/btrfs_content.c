/* SPDX-License-Identifier: Apache-2.0 */
/* See btrfs_content.h. Runs in a confined child of isolate-image as root; offsets and lengths
 * are hostile. */
#include "image/btrfs_content.h"

#include "base/text.h"
#include "image/beneath.h"
#include "sys/fd.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>
#include <unistd.h>

/* No extent of btrfs is that long. */
#define CLONE_MAX (UINT64_C(1) << 30)

static int get_offset(const struct btrfs_command *command, enum btrfs_attribute_type type,
                      off_t *ret, struct error *err)
{
    uint64_t number = 0;
    int r = btrfs_get_number(command, type, &number, err);
    if (r == 0 && number > INT64_MAX)
        return btrfs_damaged("an offset is out of range", err);
    *ret = (off_t)number;
    return r;
}

/* A regular file, for nothing else has content; a device is not even opened. */
static int open_file(const struct btrfs_place *place, int flags, struct error *err)
{
    struct stat st;
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return btrfs_done(place, -1, err);
    if (!S_ISREG(st.st_mode))
        return btrfs_damaged("what has content is no regular file", err);
    int fd = openat(place->parent_fd, place->name, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? btrfs_done(place, -1, err) : fd;
}

void btrfs_content_forget(struct btrfs_content *content)
{
    content->fd = fd_close(content->fd);
    free(content->path);
    content->path = NULL;
}

/* Most of a stream writes to one file after the other. */
static int open_target(struct btrfs_content *content, const struct btrfs_place *place,
                       struct error *err)
{
    if (content->path && streq(content->path, place->path))
        return 0;
    btrfs_content_forget(content);
    content->fd = open_file(place, O_WRONLY, err);
    if (content->fd < 0)
        return content->fd;
    content->path = strdup(place->path);
    return content->path ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
}

int btrfs_write(struct btrfs_content *content, const struct btrfs_command *command,
                const struct btrfs_place *place, struct error *err)
{
    off_t offset = 0;
    const struct btrfs_attribute *data = &command->attributes[BTRFS_DATA];
    int r = get_offset(command, BTRFS_FILE_OFFSET, &offset, err);
    if (r == 0 && !data->data)
        r = btrfs_damaged("nothing is to be written", err);
    if (r == 0)
        r = open_target(content, place, err);
    content->written += data->length;
    for (size_t at = 0; r == 0 && at < data->length;) {
        ssize_t n = pwrite(content->fd, data->data + at, data->length - at, offset + (off_t)at);
        if (n < 0 && errno != EINTR)
            r = beneath_write_failed(place->root_fd, errno, place->path, data->length, err);
        at += n > 0 ? (size_t)n : 0;
    }
    return r;
}

/* What is shared, of a file that is open. */
struct range {
    int from_fd;
    off_t from;
    off_t to;
    uint64_t length;
};

static int copy_bytes(const struct range *range, int to_fd, const struct btrfs_place *place,
                      struct error *err)
{
    off_t from = range->from;
    off_t to = range->to;
    for (uint64_t left = range->length; left > 0;) {
        ssize_t n = copy_file_range(range->from_fd, &from, to_fd, &to, (size_t)left, 0);
        if (n == 0)
            return btrfs_damaged("it shares what is not there", err);
        if (n < 0 && errno != EINTR)
            return btrfs_done(place, -1, err);
        left -= n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

/* Lets both files have the same blocks. Not beyond the source's end, which moves along where
 * both are one. Where that cannot be (one has checksums, the other has none), it is copied, but
 * no more than has been sent: a few bytes shall not fill a disk. */
static int share(struct btrfs_content *content, const struct range *range,
                 const struct btrfs_place *place, struct error *err)
{
    struct stat st;
    const struct file_clone_range request = {.src_fd = range->from_fd,
                                             .src_offset = (uint64_t)range->from,
                                             .src_length = range->length,
                                             .dest_offset = (uint64_t)range->to};
    if (fstat(range->from_fd, &st) < 0)
        return btrfs_done(place, -1, err);
    if (range->from > st.st_size || range->length > (uint64_t)(st.st_size - range->from))
        return btrfs_damaged("it shares what is not there", err);
    /* of 0 bytes it would be all up to the end */
    if (range->length == 0 || ioctl(content->fd, FICLONERANGE, &request) == 0)
        return 0;
    content->copied += range->length;
    return content->copied > content->written
               ? btrfs_damaged("it shares blocks that cannot be shared", err)
               : copy_bytes(range, content->fd, place, err);
}

/* Of what was sent before of this subvolume: no other is named when it is sent. */
static int check_source(const struct btrfs_content *content,
                        const struct btrfs_command *command, struct error *err)
{
    uint8_t uuid[BTRFS_UUID_SIZE] = {0};
    int r = btrfs_get_uuid(command, BTRFS_CLONE_UUID, uuid, err);
    return r == 0 && memcmp(uuid, content->uuid, sizeof(uuid)) != 0
               ? btrfs_damaged("it wants blocks of another subvolume", err)
               : r;
}

static int read_range(const struct btrfs_command *command, struct range *ret, struct error *err)
{
    int r = get_offset(command, BTRFS_FILE_OFFSET, &ret->to, err);
    if (r == 0)
        r = get_offset(command, BTRFS_CLONE_OFFSET, &ret->from, err);
    if (r == 0)
        r = btrfs_get_number(command, BTRFS_CLONE_LENGTH, &ret->length, err);
    return r == 0 && ret->length > CLONE_MAX
               ? btrfs_damaged("it shares more than an extent", err)
               : r;
}

int btrfs_clone(struct btrfs_content *content, const struct btrfs_command *command,
                const struct btrfs_place *place, struct error *err)
{
    struct range range = {.from_fd = -EBADF};
    _cleanup_btrfs_place_ struct btrfs_place source = BTRFS_PLACE_NONE;
    int r = check_source(content, command, err);
    if (r == 0)
        r = read_range(command, &range, err);
    if (r == 0)
        r = btrfs_place_find(place->root_fd, command, BTRFS_CLONE_PATH, &source, err);
    if (r == 0)
        r = open_target(content, place, err);
    _cleanup_close_ int from = r != 0 ? r : open_file(&source, O_RDONLY, err);
    range.from_fd = from;
    return from < 0 ? from : share(content, &range, place, err);
}

int btrfs_truncate(struct btrfs_content *content, const struct btrfs_command *command,
                   const struct btrfs_place *place, struct error *err)
{
    off_t size = 0;
    int r = get_offset(command, BTRFS_SIZE, &size, err);
    if (r == 0)
        r = open_target(content, place, err);
    return r < 0 ? r : btrfs_done(place, ftruncate(content->fd, size), err);
}
