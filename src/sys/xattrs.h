/* SPDX-License-Identifier: Apache-2.0 */
/* The extended attributes of one file that belong to a template: user.*, trusted.* (without
 * trusted.overlay.*, which overlayfs would interpret), security.* (with file capabilities) and
 * the two POSIX ACLs, as the kernel stores them. Others (btrfs.*, system.nfs4_acl) belong to a
 * file system and are not seen. trusted.* needs CAP_SYS_ADMIN. Source: xattr(7). */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct xattr {
    char *name;
    void *value;
    size_t length;
};

/* Sorted by name once read or after xattrs_sort. Owned until xattrs_clear. */
struct xattrs {
    struct xattr *items;
    size_t n;
    size_t capacity;
};

#define _cleanup_xattrs_ _cleanup_(xattrs_clear)
void xattrs_clear(struct xattrs *xattrs);

bool xattr_is_kept(const char *name);

/* Adds a copy, replacing one of the same name; -ENOMEM. Names that are not kept are left out.
 */
int xattrs_add(struct xattrs *xattrs, const char *name, const void *value,
               size_t length) _must_check_;
void xattrs_sort(struct xattrs *xattrs);

/* Reads those of an open file, or where fd < 0 those of `name` in the working directory,
 * without following a symlink. None where the file system has none. -errno. */
int xattrs_read(int fd, const char *name, struct xattrs *ret) _must_check_;

/* Sets all of them, addressed in the same way. On failure *ret_name is the one in question. */
int xattrs_write(int fd, const char *name, const struct xattrs *xattrs,
                 const char **ret_name) _must_check_;

/* Adds `by`, modulo 2^32, to the ids that POSIX ACLs name and to that of the user namespace's
 * root for which a file capability counts. 0 or -ENOMEM. */
int xattrs_shift_ids(struct xattrs *xattrs, uint32_t by) _must_check_;

/* What is new has an ACL only where `keep` has one (NULL: none), whatever its directory hands
 * down. Addressed in the same way. 0 or -errno. */
int xattrs_drop_inherited(int fd, const char *name, const struct xattrs *keep) _must_check_;

/* Removes every kept attribute of an open file that is not in `keep`, as far as possible: a new
 * directory may have inherited an ACL. */
void xattrs_remove_others(int fd, const struct xattrs *keep);
