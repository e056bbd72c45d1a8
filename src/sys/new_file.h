/* SPDX-License-Identifier: Apache-2.0 */
/* A file that has no name until it is complete, so that whatever interrupts its making, SIGKILL
 * included, leaves nothing (where the file system has O_TMPFILE, open(2); elsewhere it has a
 * hidden name meanwhile). No privilege but the directory's. */
#pragma once

#include "base/error.h"

struct new_file {
    int fd;          /* to write to */
    int dir_fd;      /* borrowed; not O_PATH */
    char hidden[24]; /* its name meanwhile; "": none */
};

#define _cleanup_new_file_ _cleanup_(new_file_clear)

int new_file_make(int dir_fd, unsigned mode, struct new_file *ret) _must_check_;
/* Has it written to the disk and puts it in the place of what has that name. 0 or -errno. */
int new_file_keep(struct new_file *file, const char *name) _must_check_;
/* What was not kept is gone. */
void new_file_clear(struct new_file *file);
