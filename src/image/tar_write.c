/* SPDX-License-Identifier: Apache-2.0 */
/* The writer of archives. Runs in isolate-image as root; the tree is hostile as to names, types
 * and attributes, and is that of a generation, which does not change. */
#include "image/tar_write.h"

#include "base/log.h"
#include "image/progress.h"
#include "image/reading.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define BLOCK_BYTES  (256 * 1024)
#define SEGMENTS_MAX 65536 /* holes behind the last one are written as zeros */

int tar_writer_init(struct tar_writer *writer, struct sink *sink, struct progress *progress,
                    struct error *err)
{
    *writer = (struct tar_writer){
        .sink = sink,
        .progress = progress,
        .block = malloc(BLOCK_BYTES),
        .segments = calloc(SEGMENTS_MAX, sizeof(*writer->segments)),
    };
    return writer->block && writer->segments
               ? 0
               : fail(err, ERROR_SYSTEM, ENOMEM, "write an archive: ");
}

void tar_writer_clear(struct tar_writer *writer)
{
    links_clear(&writer->links);
    buffer_clear(&writer->header);
    free(writer->block);
    free(writer->segments);
    *writer = (struct tar_writer){0};
}

static enum pax_type type_of(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFDIR:
        return PAX_DIRECTORY;
    case S_IFLNK:
        return PAX_SYMLINK;
    case S_IFCHR:
        return PAX_CHARACTER;
    case S_IFBLK:
        return PAX_BLOCK_DEVICE;
    case S_IFIFO:
        return PAX_FIFO;
    default:
        return PAX_REGULAR;
    }
}

static int put_header(struct tar_writer *writer, const struct pax_entry *entry,
                      struct error *err)
{
    writer->header.length = 0;
    int r = pax_header(entry, &writer->header, err);
    if (r < 0)
        return error_prefix(err, r, "\"%.200s\": ", *entry->path ? entry->path : ".");
    return sink_put(writer->sink, writer->header.data, writer->header.length, err);
}

/* Where the file has something else than holes. *ret_n stays 0 where it has no holes. */
static int find_segments(struct tar_writer *writer, int fd, uint64_t size, size_t *ret_n)
{
    size_t n = 0;
    off_t at = 0;
    off_t hole = lseek(fd, 0, SEEK_HOLE);
    if (hole < 0 || hole >= (off_t)size) /* none, or nobody can tell */
        return 0;
    while (n + 1 < SEGMENTS_MAX) {
        off_t data = lseek(fd, at, SEEK_DATA);
        if (data < 0 && errno != ENXIO)
            return -errno;
        if (data < 0 || data >= (off_t)size)
            break;
        at = lseek(fd, data, SEEK_HOLE);
        if (at < 0)
            return -errno;
        bool is_last = n + 2 == SEGMENTS_MAX || at > (off_t)size;
        uint64_t end = is_last ? size : (uint64_t)at;
        writer->segments[n++] = (struct pax_segment){(uint64_t)data, end - (uint64_t)data};
        if (is_last)
            break;
    }
    writer->segments[n++] = (struct pax_segment){size, 0}; /* so that it is as long as it is */
    *ret_n = n;
    return 0;
}

static int put_range(struct tar_writer *writer, const struct walk_entry *entry, int fd,
                     const struct pax_segment *range, struct error *err)
{
    for (uint64_t done = 0; done < range->length;) {
        uint64_t left = range->length - done;
        ssize_t n = pread(fd, writer->block, left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES,
                          (off_t)(range->offset + done));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? read_failed(entry, errno, err) : read_ended(entry, err);
        int r = sink_put(writer->sink, writer->block, (size_t)n, err);
        if (r < 0)
            return r;
        done += (uint64_t)n;
        progress_add(writer->progress, 0, (uint64_t)n);
        progress_input(writer->progress, (uint64_t)n);
    }
    return 0;
}

static int put_zeros(struct tar_writer *writer, size_t length, struct error *err)
{
    static const char zeros[PAX_END_BYTES];
    return length > 0 ? sink_put(writer->sink, zeros, length, err) : 0;
}

static int put_regular(struct tar_writer *writer, const struct walk_entry *entry, int fd,
                       struct pax_entry *head, struct error *err)
{
    const struct pax_segment whole = {0, head->size};
    const struct pax_segment *ranges = &whole;
    size_t n = 0;
    uint64_t stored = 0;
    if (!writer->no_holes && fd >= 0 && head->size > 0) {
        int r = find_segments(writer, fd, head->size, &n);
        if (r < 0)
            return read_failed(entry, r, err);
    }
    if (n > 0) {
        head->segments = ranges = writer->segments;
        head->n_segments = n;
    }
    int r = put_header(writer, head, err);
    for (size_t i = 0; r == 0 && i < (n > 0 ? n : 1); i++) {
        stored += ranges[i].length;
        r = put_range(writer, entry, fd, &ranges[i], err);
    }
    return r < 0 ? r : put_zeros(writer, pax_padding(stored), err);
}

/* An entry that is no regular file, or a hard link of an earlier one. */
static int put_special(struct tar_writer *writer, const struct walk_entry *entry,
                       const struct pax_entry *head, struct error *err)
{
    char target[PATH_MAX];
    struct pax_entry link = *head;
    link.size = 0;
    if (head->type == PAX_SYMLINK) {
        ssize_t n = readlinkat(entry->parent_fd, entry->name, target, sizeof(target) - 1);
        if (n < 0)
            return read_failed(entry, errno, err);
        target[n] = '\0';
        link.link = target;
    }
    return put_header(writer, &link, err);
}

static void warn_socket(struct tar_writer *writer, const struct walk_entry *entry)
{
    if (writer->warned)
        return;
    writer->warned = true;
    progress_clear(writer->progress);
    log_warning("\"%.300s\" is a socket: no archive has them, they are left out", entry->path);
}

/* fd < 0: the entry has no content, and is `name` in its directory. */
static int put_first(struct tar_writer *writer, const struct walk_entry *entry, int fd,
                     struct pax_entry *head, struct error *err)
{
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    if (fd < 0 && fchdir(entry->parent_fd) < 0)
        return read_failed(entry, errno, err);
    int r = xattrs_read(fd, entry->name, &xattrs);
    if (r < 0)
        return read_failed(entry, r, err);
    head->xattrs = &xattrs;
    r = head->type == PAX_REGULAR ? put_regular(writer, entry, fd, head, err)
                                  : put_special(writer, entry, head, err);
    head->xattrs = NULL;
    return r;
}

int tar_write_entry(struct tar_writer *writer, const struct walk_entry *entry, int directory_fd,
                    struct error *err)
{
    struct pax_entry head = {
        .path = entry->path,
        .type = type_of(entry->mode),
        .mode = S_ISLNK(entry->mode) ? 0777 : entry->mode & 07777,
        .uid = entry->uid,
        .gid = entry->gid,
        .modified = entry->modified,
        .size = S_ISREG(entry->mode) && !entry->is_mount_point ? entry->size : 0,
        .major = S_ISCHR(entry->mode) || S_ISBLK(entry->mode) ? major(entry->rdev) : 0,
        .minor = S_ISCHR(entry->mode) || S_ISBLK(entry->mode) ? minor(entry->rdev) : 0,
    };
    if (S_ISSOCK(entry->mode)) {
        warn_socket(writer, entry);
        return 0;
    }
    progress_add(writer->progress, 1, 0);
    if (!S_ISDIR(entry->mode) && entry->links > 1 && !entry->is_mount_point) {
        int r = links_first(&writer->links, entry, &head.link);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "write \"%.300s\": ", entry->path);
        if (head.link) {
            head.type = PAX_HARD_LINK;
            return put_special(writer, entry, &head, err);
        }
    }
    if (!S_ISREG(entry->mode))
        return put_first(writer, entry, directory_fd, &head, err);
    _cleanup_close_ int fd = openat(entry->parent_fd, entry->name,
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    return fd < 0 ? read_failed(entry, errno, err) : put_first(writer, entry, fd, &head, err);
}

int tar_write_end(struct tar_writer *writer, struct error *err)
{
    return put_zeros(writer, PAX_END_BYTES, err);
}
