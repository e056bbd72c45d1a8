/* SPDX-License-Identifier: Apache-2.0 */
/* Copies of whole trees that share their content with the source (FICLONE, kernel 4.5): on XFS,
 * btrfs and bcachefs; what a file does not share is copied. Everything is kept: hard links,
 * owners, modes, times, extended attributes, ACLs, file capabilities, holes, devices, sockets.
 * Needs root. The source may be hostile in names, depth and types, and may even change
 * meanwhile: nothing is followed, and the copy is reached only through directories made here.
 */
#pragma once

#include "base/error.h"

/* Copies everything below from_fd into a new directory `name` of dir_fd, on the same file
 * system, by as many threads as there are processors (at most 8), which are gone when it
 * returns. Blocks. On failure the caller removes what was made. */
int copy_tree(int from_fd, int dir_fd, const char *name, struct error *err) _must_check_;
/* The same of the upper directory of an overlay: with the marks of what it hides and where it
 * comes from. The other file system need not be the same one. */
int copy_upper(int from_fd, int dir_fd, const char *name, struct error *err) _must_check_;
/* The same as copy_tree into a directory that is there, empty and of mode 0700. */
int copy_tree_into(int from_fd, int to_fd, struct error *err) _must_check_;
