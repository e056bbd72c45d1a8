/* SPDX-License-Identifier: Apache-2.0 */
/* spec/log_ring.c: a ring as a hostile init leaves it, and one as it is written. */
#include "target.h"

#include "spec/log_ring.h"
#include "sys/fd.h"

#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

const bool target_needs_walls = false;

#define HEADER_BYTES 24 /* head, tail, finished */
#define RING_BYTES   (HEADER_BYTES + LOG_RING_BYTES)

/* Reads it to its end, which comes, whatever is in it. */
static void read_all(int fd)
{
    char data[LOG_FRAME_MAX];
    uint64_t position = 0;
    unsigned stream = 0;
    int n = 0;
    for (size_t i = 0; i < 1000; i++) {
        uint64_t before = position;
        n = log_ring_read(fd, &position, &stream, data);
        if (n <= 0)
            break;
        MUST(n <= LOG_FRAME_MAX && (stream == 1 || stream == 2) && position > before);
    }
}

/* What is written comes out again, as long as it fits. */
static void write_and_read(int fd, struct input *input)
{
    struct log_ring *ring = NULL;
    char data[LOG_FRAME_MAX];
    uint64_t position = 0;
    unsigned stream = 0;
    if (log_ring_map(fd, &ring) < 0)
        return;
    for (size_t i = 0; i < 32 && input->left > 0; i++) {
        size_t length = 0;
        unsigned to = 1 + (input_byte(input) & 1);
        const uint8_t *bytes = input_bytes(input, input_byte(input), &length);
        log_ring_write(ring, to, bytes, length);
        if (length == 0)
            continue;
        MUST(log_ring_read(fd, &position, &stream, data) == (int)length);
        MUST(stream == to && memcmp(data, bytes, length) == 0);
    }
    log_ring_finish(ring);
    MUST(log_ring_read(fd, &position, &stream, data) == -ENODATA);
    (void)munmap(ring, RING_BYTES);
}

void target_run(const uint8_t *data, size_t size)
{
    static int fd = -EBADF;
    struct input input = {data, size};
    bool hostile = input_byte(&input) & 1;
    uint8_t header[HEADER_BYTES] = {0};
    uint8_t clean[4096] = {0};
    if (fd < 0) {
        (void)unlinkat(target_directory_fd(), "log", 0);
        fd = log_ring_make(target_directory_fd(), "log");
    }
    MUST(fd >= 0);
    MUST(pwrite(fd, header, sizeof(header), 0) == sizeof(header));
    if (!hostile) {
        write_and_read(fd, &input);
        return;
    }
    size_t length = 0;
    const uint8_t *bytes = input_bytes(&input, sizeof(header), &length);
    memcpy(header, bytes, length);
    MUST(pwrite(fd, clean, sizeof(clean), 0) == sizeof(clean));
    MUST(pwrite(fd, header, sizeof(header), 0) == sizeof(header));
    bytes = input_bytes(&input, 8192, &length);
    MUST(pwrite(fd, bytes, length, sizeof(header)) == (ssize_t)length);
    read_all(fd);
}
