/* SPDX-License-Identifier: Apache-2.0 */
/* The confinement of processes that read what is hostile. For children of isolate-image that
 * have one thread; nothing of it can be undone. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>

/* What a confined process still may. */
enum confine_rights {
    CONFINE_WRITES_TREE, /* makes any file, of any owner, below its root */
    CONFINE_STREAMS,     /* reads and writes the fds that it has; opens nothing */
};

/* Gives up everything else: the root outside of root_fd, all fds but 0-2 and the n_keep (at
 * most 4) named, capabilities, execution of programs and of code from files (libarchive and
 * libc load some by name). Needs root. *ret_root, unless that is NULL, is the new "/". */
int confine(enum confine_rights rights, const int *keep, size_t n_keep, int root_fd,
            int *ret_root, struct error *err) _must_check_;

/* What of this needs no root: no programs, new processes, sockets, mounts, no code from files.
 * For who reads a sandbox's archive as its caller, with that one's rights to files. */
int confine_caller(struct error *err) _must_check_;
