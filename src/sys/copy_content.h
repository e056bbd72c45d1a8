/* SPDX-License-Identifier: Apache-2.0 */
/* The content of one regular file into another, empty one: shared blocks where the file system
 * can, holes kept. No privilege beyond the two open files. Source: FICLONE
 * ioctl_ficlonerange(2), copy_file_range(2), lseek(2) SEEK_DATA. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* What the pair of file systems has turned out not to do; zero at first, kept between files. */
struct copy_methods {
    bool no_clone;
    bool no_copy_range;
    /* The caller's, to be told of bytes as they are copied; may be NULL. */
    void (*copied)(void *data, uint64_t bytes);
    void *data;
};

/* Copies the first `size` bytes. -ENODATA where the source is shorter. *ret_read tells whether
 * a failure is one of reading in_fd. */
int copy_content(int in_fd, int out_fd, uint64_t size, struct copy_methods *methods,
                 bool *ret_read) _must_check_;
