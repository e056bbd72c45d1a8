/* SPDX-License-Identifier: Apache-2.0 */
/* See log_ring.h. Runs in isolated (make), init (write) and clients (read). */
#include "spec/log_ring.h"

#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define MASK (LOG_RING_BYTES - 1)

struct log_ring {
    uint64_t head; /* bytes ever written; frames lie between tail and head */
    uint64_t tail; /* the oldest whole frame */
    uint32_t finished;
    uint32_t reserved;
    char data[LOG_RING_BYTES];
};

struct frame {
    uint16_t length;
    uint16_t stream;
};

int log_ring_make(int dir_fd, const char *name)
{
    int fd = openat(dir_fd, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (fd < 0)
        return -errno;
    int r = posix_fallocate(fd, 0, sizeof(struct log_ring));
    if (r != 0) {
        (void)close(fd);
        (void)unlinkat(dir_fd, name, 0);
        return -r;
    }
    return fd;
}

int log_ring_map(int fd, struct log_ring **ret)
{
    struct stat st;
    if (fstat(fd, &st) < 0 || !S_ISREG(st.st_mode) ||
        st.st_size != (off_t)sizeof(struct log_ring))
        return -EINVAL;
    void *map = mmap(NULL, sizeof(struct log_ring), PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (map == MAP_FAILED)
        return -errno;
    *ret = map;
    return 0;
}

static void copy_in(struct log_ring *ring, uint64_t at, const void *data, size_t length)
{
    size_t offset = at & MASK;
    size_t first = length < LOG_RING_BYTES - offset ? length : LOG_RING_BYTES - offset;
    memcpy(ring->data + offset, data, first);
    memcpy(ring->data, (const char *)data + first, length - first);
}

static void copy_out(const struct log_ring *ring, uint64_t at, void *data, size_t length)
{
    size_t offset = at & MASK;
    size_t first = length < LOG_RING_BYTES - offset ? length : LOG_RING_BYTES - offset;
    memcpy(data, ring->data + offset, first);
    memcpy((char *)data + first, ring->data, length - first);
}

static void write_frame(struct log_ring *ring, unsigned stream, const char *data, size_t length)
{
    const struct frame frame = {(uint16_t)length, (uint16_t)stream};
    uint64_t head = __atomic_load_n(&ring->head, __ATOMIC_SEQ_CST);
    uint64_t tail = __atomic_load_n(&ring->tail, __ATOMIC_SEQ_CST);
    /* the oldest frames make room, and readers see that before they are overwritten */
    while (head + sizeof(frame) + length - tail > LOG_RING_BYTES) {
        struct frame oldest;
        copy_out(ring, tail, &oldest, sizeof(oldest));
        tail = oldest.length > LOG_FRAME_MAX ? head : tail + sizeof(oldest) + oldest.length;
    }
    __atomic_store_n(&ring->tail, tail, __ATOMIC_SEQ_CST);
    copy_in(ring, head, &frame, sizeof(frame));
    copy_in(ring, head + sizeof(frame), data, length);
    __atomic_store_n(&ring->head, head + sizeof(frame) + length, __ATOMIC_SEQ_CST);
}

void log_ring_write(struct log_ring *ring, unsigned stream, const void *data, size_t length)
{
    const char *at = data;
    while (length > 0) {
        size_t n = length < LOG_FRAME_MAX ? length : LOG_FRAME_MAX;
        write_frame(ring, stream, at, n);
        at += n;
        length -= n;
    }
}

void log_ring_finish(struct log_ring *ring)
{
    __atomic_store_n(&ring->finished, 1, __ATOMIC_SEQ_CST);
}

/* The same from the file. */
static int pread_ring(int fd, uint64_t at, void *data, size_t length)
{
    size_t offset = at & MASK;
    size_t first = length < LOG_RING_BYTES - offset ? length : LOG_RING_BYTES - offset;
    const off_t begin = offsetof(struct log_ring, data);
    if (pread(fd, data, first, begin + (off_t)offset) != (ssize_t)first ||
        pread(fd, (char *)data + first, length - first, begin) != (ssize_t)(length - first))
        return -EIO;
    return 0;
}

struct ends {
    uint64_t head;
    uint64_t tail;
    uint32_t finished;
};

static int pread_ends(int fd, struct ends *ret)
{
    return pread(fd, ret, sizeof(*ret), 0) == (ssize_t)sizeof(*ret) ? 0 : -EIO;
}

int log_ring_read(int fd, uint64_t *position, unsigned *ret_stream,
                  char data[static LOG_FRAME_MAX])
{
    for (int tries = 0; tries < 1000; tries++) {
        struct frame frame;
        struct ends ends;
        int r = pread_ends(fd, &ends);
        if (r < 0)
            return r;
        if (*position < ends.tail)
            *position = ends.tail;
        if (*position >= ends.head)
            return ends.finished ? -ENODATA : 0;
        r = pread_ring(fd, *position, &frame, sizeof(frame));
        if (r < 0 || frame.length > LOG_FRAME_MAX || frame.length == 0)
            return r < 0 ? r : -ENODATA; /* not as init writes it */
        r = pread_ring(fd, *position + sizeof(frame), data, frame.length);
        if (r == 0)
            r = pread_ends(fd, &ends);
        if (r < 0)
            return r;
        if (ends.tail > *position)
            continue; /* overwritten meanwhile */
        *position += sizeof(frame) + frame.length;
        *ret_stream = frame.stream == 2 ? 2 : 1;
        return frame.length;
    }
    return 0;
}
