/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes into a file. Runs in isolate-image as root; the file is the caller's. */
#include "image/sink.h"

#include "image/progress.h"
#include "sys/fd.h"

#include <errno.h>
#include <unistd.h>

#define BLOCK_BYTES (64 * 1024)

static int put_fd(struct sink *sink, const void *data, size_t length, struct error *err)
{
    const struct sink_fd *to = (const struct sink_fd *)sink;
    int r = fd_write_all(to->fd, data, length);
    if (r == -EPIPE)
        return fail(err, ERROR_SYSTEM, EPIPE, "%s: who reads it has ended", to->what);
    return r < 0 ? fail(err, error_code_of_errno(-r), r, "%s: ", to->what) : 0;
}

struct sink_fd sink_fd(int fd, const char *what)
{
    return (struct sink_fd){.sink = {put_fd}, .fd = fd, .what = what};
}

int sink_copy(struct sink *sink, int from_fd, const char *what, struct progress *progress,
              struct error *err)
{
    char block[BLOCK_BYTES];
    for (;;) {
        ssize_t n = read(from_fd, block, sizeof(block));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n == 0 ? 0 : fail(err, ERROR_SYSTEM, errno, "%s: ", what);
        int r = sink_put(sink, block, (size_t)n, err);
        if (r < 0)
            return r;
        progress_add(progress, 0, (uint64_t)n);
    }
}
