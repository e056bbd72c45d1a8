/* SPDX-License-Identifier: Apache-2.0 */
/* Files and descriptors: whole reads and writes, sealed memfds, replacing a file at once. No
 * privilege of its own; all fds made here are O_CLOEXEC and belong to the caller. Names are
 * relative to a directory fd that the caller trusts. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <dirent.h>
#include <limits.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* A path that leads to the very file of an fd, O_PATH or not, for calls that know only paths.
 */
struct fd_path {
    char text[32];
};
struct fd_path fd_path(int fd);
/* The same of an entry of an open directory. */
struct fd_entry_path {
    char text[NAME_MAX + 32];
};
struct fd_entry_path fd_entry_path(int dir_fd, const char *name);

/* A copy of an fd, O_CLOEXEC and at least 3; -errno. */
int dup_cloexec(int fd) _must_check_;

/* Writes all of data, through EINTR and short writes. 0 or -errno. */
int fd_write_all(int fd, const void *data, size_t length) _must_check_;

/* Reads exactly length bytes; -ENODATA where the file ends before. */
int fd_read_exactly(int fd, void *data, size_t length) _must_check_;

/* Appends everything up to end of file, at most max bytes (-EFBIG beyond). Blocks as fd does.
 */
int fd_read_all(int fd, size_t max, struct buffer *ret) _must_check_;

/* Reads a whole small file. -ENOENT where there is none, without a message of its own. */
int file_read_at(int dir_fd, const char *name, size_t max, struct buffer *ret) _must_check_;

/* Makes NAME hold exactly data: written to ".NAME.new", synced when `durable`, renamed over. */
int file_replace_at(int dir_fd, const char *name, const void *data, size_t length,
                    bool durable) _must_check_;

/* Writes a string in one write(2), as kernel control files (/proc, cgroup) need it. */
int file_write_at(int dir_fd, const char *name, const char *text) _must_check_;

/* Whether there is an entry of that name, 1 or 0, a link itself included; -errno where that
 * cannot be known: what must not be done twice, or to what is there, is not to be decided then.
 */
int file_exists_at(int dir_fd, const char *name) _must_check_;

/* mkdir that accepts an existing directory, then opens it O_PATH|O_NOFOLLOW. fd or -errno. */
int dir_make_at(int dir_fd, const char *name, unsigned mode) _must_check_;

/* Makes the directories in this order. Where the last is there, all are taken to be. */
int dirs_make_at(int dir_fd, const char *const *names, size_t n, unsigned mode) _must_check_;

/* Opens a directory for reading, never through a symlink. fd or -errno. */
int dir_open_at(int dir_fd, const char *name) _must_check_;
/* A stream of a directory's fd, which it takes even where that fails: NULL with errno set. An
 * fd that is a -errno is one, so that `dir_stream(dir_open_at(…))` needs one check. */
DIR *dir_stream(int take_fd) _must_check_;

/* The next entry but "." and "..": 1, 0 at the end, or -errno: a list that cannot be read on is
 * not taken for a shorter one. *ret holds until the next call. */
int dir_next(DIR *dir, struct dirent **ret) _must_check_;

/* A memfd of this content with mode, sealed against every change. fd or -errno. */
int memfd_of(const char *name, const void *data, size_t length, unsigned mode) _must_check_;

/* A memfd of this content with mode, sealed against every change and reopened read-only.
 * MFD_EXEC is asked for where the kernel knows it (6.3). fd or -errno. */
int memfd_sealed(const char *name, const void *data, size_t length, unsigned mode) _must_check_;

/* Maps a sealed memfd that a peer sent: -EINVAL unless it is a memfd whose content can no
 * longer change (F_SEAL_WRITE, F_SEAL_SHRINK) of at most max bytes. Unmap with munmap. Never
 * blocks: F_GET_SEALS fails at once on any other file. */
int memfd_map(int fd, size_t max, const void **ret, size_t *ret_length) _must_check_;

/* What memfd_map gave, for as long as it is in scope. */
struct mapping {
    const void *data;
    size_t length;
};
#define _cleanup_mapping_ _cleanup_(mapping_clear)
void mapping_clear(struct mapping *mapping);

/* Opens /dev/null on each of fds 0 to 2 that is closed, so that no later open lands there. */
int fd_open_missing_stdio(void) _must_check_;

/* Random bytes from the kernel. A kernel without getrandom(2) ends the process. */
void random_fill(void *data, size_t length);
