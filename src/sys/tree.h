/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees by file descriptor. Content may be hostile: symlinks are never followed,
 * depth is not bounded by the stack or by open fds. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

/* Removes name below dir_fd with everything in it. 0 also where it does not exist. Needs the
 * right to write; changes modes of directories on its way where these deny it. Continues past
 * what cannot be removed and returns the first -errno. Works on a full file system, too. Where
 * somebody else goes on making entries it ends with -EBUSY: it looks at no more of them than
 * four times as many as it finds, some thousand besides, and a million that are deep. */
int tree_remove(int dir_fd, const char *name) _must_check_;
/* The same, and -EAGAIN when it is end_ms (monotonic; 0: never) and something is left: another
 * call goes on with that. It is not bounded in another way then. */
int tree_remove_until(int dir_fd, const char *name, uint64_t end_ms) _must_check_;

/* Bytes on disk (st_blocks) and number of entries below an O_PATH or readable directory fd,
 * each hard-linked file counted once per link; what is more than 200 levels deep, or behind the
 * first 16 million entries, is not counted. -EMFILE, -ENFILE or -ENOMEM where that is why not
 * all is counted. */
int tree_usage(int dir_fd, uint64_t *ret_bytes, uint64_t *ret_entries) _must_check_;
