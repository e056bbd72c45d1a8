/* SPDX-License-Identifier: Apache-2.0 */
/* Bytes into a file. Runs in isolate-image as root; the file is the caller's. */
#include "image/sink.h"

#include "sys/fd.h"

#include <errno.h>

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
