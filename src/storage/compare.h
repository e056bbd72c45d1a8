/* SPDX-License-Identifier: Apache-2.0 */
/* Comparison of single entries of two trees, for the diff of every driver. Needs root. The
 * trees are hostile: an entry is looked at by an O_PATH fd of its own, nothing is followed, and
 * only regular files are ever opened. Both trees must be seen with the same ids: through
 * id-mapped mounts where they are stored with others, which translates ACLs too. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/stat.h>

struct compare_entry {
    int fd; /* O_PATH; -EBADF where there is no such entry */
    struct stat st;
};
void compare_entry_clear(struct compare_entry *entry);
#define _cleanup_compare_entry_ _cleanup_(compare_entry_clear)

/* Opens the directory at a path below root_fd ("" or "/a/b", of any length), O_PATH, through
 * neither symlinks nor mounts. fd or -errno. */
int compare_open_directory(int root_fd, const char *path) _must_check_;
/* The same, to be read. */
int compare_read_directory(int root_fd, const char *path) _must_check_;

/* Opens one entry of a directory. 0 also where there is none, where dir_fd is negative, and
 * where the entry is an overlay's whiteout: then ret->fd is negative and *ret_whiteout tells
 * which. ret_whiteout NULL: the trees are no overlay's, and what looks like one is a device. */
int compare_entry_open(int dir_fd, const char *name, struct compare_entry *ret,
                       bool *ret_whiteout) _must_check_;

/* Whether two existing entries differ: in type, mode, owner, group, device number, link target,
 * extended attributes (a file system's private ones left out), and for regular files in size,
 * time of modification or content. Content is read only where all else is equal. 1 they do, 0
 * they do not, -errno. Blocks for as long as the reading takes.
 *
 * is_copy: b's tree began as a copy-on-write copy of a's. Then of an entry that still has the
 * inode number and time of change (which nobody can set) no more than what stat tells is
 * compared (btrfs, ZFS), unless that time has no fraction of a second: then the file system may
 * know none. And a file's content is not read while it lies at the same place on the disk
 * (reflinks). */
int compare_entries(const struct compare_entry *a, const struct compare_entry *b,
                    bool is_copy) _must_check_;

/* Whether two entries that compare_entries finds equal are told apart by a hash of their trees
 * all the same: in the time of modification of what is no regular file, or the number of
 * links. */
bool compare_marks(const struct compare_entry *a, const struct compare_entry *b);

/* An extended attribute of an O_PATH fd into value, always terminated. Its length, -ENODATA,
 * -ERANGE where it does not fit, or another -errno. */
int compare_xattr_get(int fd, const char *name, char *value, size_t size) _must_check_;
