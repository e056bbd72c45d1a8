/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of single entries that share their content with the source (FICLONE, kernel 4.5) where
 * the file allows it, with owner, mode, extended attributes and times. Needs root. The source
 * may be hostile and change meanwhile: nothing is followed. Safe in threads. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/stat.h>

/* From one directory to another of the same file system. */
struct copy_place {
    int from; /* O_PATH will do */
    int to;
    bool no_umask; /* the calling thread's umask is 0 */
};

/* Copies an entry that is no directory, of which st tells; there must be none of that name yet.
 * 0 also where it has gone meanwhile, or -errno. */
int copy_one(const struct copy_place *place, const char *name,
             const struct stat *st) _must_check_;

/* The same of a regular file of which nothing is known but that. 1 where it has more names than
 * this one: then nothing was copied. */
int copy_single(const struct copy_place *place, const char *name) _must_check_;

/* Owner, mode, attributes and times of one open directory to another. 0 or -errno. */
int copy_directory_attributes(int from_fd, int to_fd) _must_check_;
