/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts by file descriptor: open_tree, fsopen, mount_setattr, move_mount, openat2. Raw system
 * calls, because neither Debian 12's glibc nor musl wraps them all, and because <sys/mount.h>
 * and <linux/mount.h> cannot be included together there. Every call needs CAP_SYS_ADMIN over
 * the mount namespace's owner; none touches memory other than its arguments, so all are safe
 * between fork and exec. fds returned are O_CLOEXEC and the caller's; -errno on failure.
 * Source: mount_setattr(2), open_tree(2), fsopen(2), openat2(2). */
#pragma once

#include "base/error.h"

#include <linux/mount.h>
#include <linux/openat2.h>
#include <stdbool.h>
#include <stdint.h>

#define MOUNT_DETACH 2 /* MNT_DETACH of umount2(2) */

/* A detached, private copy of the mount at path (below dir_fd; "" for dir_fd itself), with its
 * submounts if `recursive`. Private, because a copy of a shared mount, as systemd makes all of
 * them, is in its peer group: what were mounted on the copy would appear on the machine.
 * -EINVAL where dir_fd belongs to another mount namespace. */
int mount_open_tree(int dir_fd, const char *path, bool recursive) _must_check_;

/* Sets and clears MOUNT_ATTR_* on a mount, on its submounts too if `recursive`; userns_fd ≥ 0
 * id-maps it (kernel 5.12; -EINVAL where the file system cannot be id-mapped). */
int mount_set_attributes(int fd, bool recursive, uint64_t set, uint64_t clear,
                         int userns_fd) _must_check_;

/* Attaches a detached mount over the file or directory `at` (an O_PATH fd will do). */
int mount_attach(int mount_fd, int at_fd) _must_check_;
int mount_attach_path(int mount_fd, const char *path) _must_check_;

/* A new, detached instance of a file system. options is a NULL-terminated list of key, value,
 * key, value…; a NULL value makes a flag. */
int mount_new(const char *type, const char *const *options, uint64_t attributes) _must_check_;

/* fsopen, fsconfig and fsmount one by one, for what mount_new cannot express. */
int mount_context(const char *type) _must_check_;
int mount_context_set(int context, const char *key, const char *value) _must_check_;
int mount_context_set_fd(int context, const char *key, int fd) _must_check_;
int mount_context_create(int context, uint64_t attributes) _must_check_;

/* Makes the whole file system (superblock) that mount_fd shows read-only, for every mount of it
 * and every fd into it: later writes fail with EROFS. -EBUSY where a file is open for writing.
 */
int mount_super_read_only(int mount_fd) _must_check_;

/* mount(2), umount2(2), pivot_root(2). */
int mount_classic(const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data) _must_check_;
int mount_detach(const char *target) _must_check_;
int mount_pivot_root(const char *new_root, const char *put_old) _must_check_;

/* openat2 with RESOLVE_* flags; O_CLOEXEC is added. Retried on EAGAIN, which a concurrent
 * rename causes, but with RESOLVE_CACHED, where it means that a file system would be asked. */
int open_resolved(int dir_fd, const char *path, int flags, uint64_t resolve) _must_check_;
