/* SPDX-License-Identifier: Apache-2.0 */
/* Where bytes go: a file or pipe, a compressor, a digest, one behind the other. Each kind has
 * this as its first member. */
#pragma once

#include "base/error.h"

#include <stddef.h>

struct progress;

struct sink {
    int (*put)(struct sink *sink, const void *data, size_t length, struct error *err);
};

static inline int sink_put(struct sink *sink, const void *data, size_t length,
                           struct error *err)
{
    return sink->put(sink, data, length, err);
}

/* An open file or pipe, borrowed, which is what a caller gave: writing may block for as long as
 * it pleases the caller. `what` names it in errors. */
struct sink_fd {
    struct sink sink;
    int fd;
    const char *what;
};
struct sink_fd sink_fd(int fd, const char *what);

/* Takes what a pipe gives to its end; `what` names that in errors. */
int sink_copy(struct sink *sink, int from_fd, const char *what, struct progress *progress,
              struct error *err) _must_check_;
