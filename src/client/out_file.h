/* SPDX-License-Identifier: Apache-2.0 */
/* A file that is written as a whole or not at all (sys/new_file.h). What is no regular file (a
 * pipe, a device, standard output) is written to as it is. With the caller's rights. */
#pragma once

#include "base/error.h"
#include "sys/new_file.h"

#include <limits.h>

struct out_file {
    int fd;              /* to write to, borrowed from what follows or standard output */
    struct new_file new; /* takes the place of `name` in dir_fd */
    int dir_fd;          /* -EBADF: nothing is replaced */
    int device_fd;       /* what is no regular file */
    char name[NAME_MAX + 1];
};

#define _cleanup_out_file_ _cleanup_(out_file_clear)
#define OUT_FILE_NONE                                                                          \
    {                                                                                          \
        .fd = -EBADF, .new = {.fd = -EBADF}, .dir_fd = -EBADF, .device_fd = -EBADF             \
    }

/* path "-": standard output, which must not be a terminal. A new file has mode 0600. */
int out_file_open(const char *path, struct out_file *ret, struct error *err) _must_check_;
/* All is written: it gets its name. */
int out_file_keep(struct out_file *file, struct error *err) _must_check_;
/* What was not kept is gone. */
void out_file_clear(struct out_file *file);
