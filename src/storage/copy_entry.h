/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of single entries that share their content with the source (FICLONE, kernel 4.5) where
 * the file allows it, with owner, mode, extended attributes and times. Needs root. The source
 * may be hostile and change meanwhile: nothing is followed. Safe in threads. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>
#include <sys/stat.h>

/* From one directory to another of the same file system. */
struct copy_place {
    int from; /* O_PATH will do */
    int to;
    bool no_umask;     /* the calling thread's umask is 0 */
    bool may_inherit;  /* what is made in `to` may get a group or an ACL from it */
    uint32_t first_id; /* what owners, and ids in attributes, lose on the way */
};

/* Copies an entry that is no directory, of which st tells; there must be none of that name yet.
 * 0 also where it has gone meanwhile, or -errno. */
int copy_one(const struct copy_place *place, const char *name,
             const struct stat *st) _must_check_;

/* The same under another name. */
int copy_one_as(const struct copy_place *place, const char *name, const char *as,
                const struct stat *st) _must_check_;

/* The same as copy_one of a regular file of which nothing is known but that. 1 where it has
 * more names than this one: then nothing was copied. */
int copy_single(const struct copy_place *place, const char *name) _must_check_;

/* Owner, mode, attributes and times of the directory `from`, readable too, to `to`, which is a
 * fresh one of mode 0700 unless may_inherit is set. 0 or -errno. */
int copy_directory_attributes(const struct copy_place *place) _must_check_;
