/* SPDX-License-Identifier: Apache-2.0 */
/* File contents. Runs as root in isolate-image and isolated; the content means nothing here. */
#include "sys/copy_content.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>
#include <sys/types.h>

#define STEP_BYTES (16 * 1024 * 1024)

static void tell(const struct copy_methods *methods, uint64_t bytes)
{
    if (methods->copied)
        methods->copied(methods->data, bytes);
}

/* 1 copied, 0 this pair cannot do it, -errno. */
static int clone_all(int in_fd, int out_fd, struct copy_methods *methods)
{
    if (methods->no_clone)
        return 0;
    if (ioctl(out_fd, FICLONE, in_fd) == 0)
        return 1;
    switch (errno) {
    case EOPNOTSUPP:
    case ENOTTY:
    case EXDEV:
    case ENOSYS:
        methods->no_clone = true;
        return 0;
    case EINVAL:
    case EPERM:
    case ETXTBSY:
    case EAGAIN:
        /* this file only: swap file, other attributes of the two files, or (OpenZFS) written so
         * lately that it is not on the disk */
        return 0;
    default:
        return -errno;
    }
}

static int copy_by_reading(int in_fd, int out_fd, off_t *at, off_t end, bool *ret_read)
{
    char block[64 * 1024];
    off_t left = end - *at;
    size_t want = left < (off_t)sizeof(block) ? (size_t)left : sizeof(block);
    ssize_t n = pread(in_fd, block, want, *at);
    *ret_read = n <= 0;
    if (n < 0)
        return errno == EINTR ? 0 : -errno;
    if (n == 0)
        return -ENODATA;
    for (ssize_t done = 0; done < n;) {
        ssize_t w = pwrite(out_fd, block + done, (size_t)(n - done), *at);
        if (w < 0 && errno != EINTR)
            return -errno;
        if (w > 0) {
            done += w;
            *at += w;
        }
    }
    return 0;
}

struct extent {
    off_t from;
    off_t end;
};

static int copy_extent(int in_fd, int out_fd, struct extent extent,
                       struct copy_methods *methods, bool *ret_read)
{
    off_t at = extent.from;
    const off_t end = extent.end;
    bool by_reading = methods->no_copy_range;
    while (at < end) {
        off_t before = at;
        if (!by_reading) {
            off_t out_at = at;
            size_t want = end - at < STEP_BYTES ? (size_t)(end - at) : STEP_BYTES;
            ssize_t n = copy_file_range(in_fd, &at, out_fd, &out_at, want, 0);
            if (n < 0 && (errno == ENOSPC || errno == EDQUOT || errno == EFBIG))
                return -errno;
            if (n < 0 && (errno == EXDEV || errno == ENOSYS || errno == EOPNOTSUPP))
                methods->no_copy_range = true;
            /* no progress may be the file system's inability (0) as well as the end */
            by_reading = n == 0 || (n < 0 && errno != EINTR);
        } else {
            int r = copy_by_reading(in_fd, out_fd, &at, end, ret_read);
            if (r < 0)
                return r;
        }
        tell(methods, (uint64_t)(at - before));
    }
    return 0;
}

int copy_content(int in_fd, int out_fd, uint64_t size, struct copy_methods *methods,
                 bool *ret_read)
{
    *ret_read = false;
    int r = size > 0 ? clone_all(in_fd, out_fd, methods) : 0;
    if (r != 0) {
        if (r > 0)
            tell(methods, size);
        return r < 0 ? r : 0;
    }
    off_t end = (off_t)size;
    off_t at = 0;
    while (at < end) {
        off_t data = lseek(in_fd, at, SEEK_DATA);
        if (data < 0 && errno == ENXIO)
            break; /* the rest is a hole */
        off_t hole = data < 0 ? end : lseek(in_fd, data, SEEK_HOLE);
        if (data < 0)
            data = at;
        if (data >= end)
            break;
        if (hole < 0 || hole > end)
            hole = end;
        r = copy_extent(in_fd, out_fd, (struct extent){data, hole}, methods, ret_read);
        if (r < 0)
            return r;
        at = hole;
    }
    return size > 0 && ftruncate(out_fd, end) < 0 ? -errno : 0;
}
