/* SPDX-License-Identifier: Apache-2.0 */
/* The file systems that every sandbox has of its own, in the order in which they are mounted on
 * its root: what init makes, and what `run --explain` says. */
#pragma once

#include "sys/mount.h"

#define OWN_MOUNT_HARDENED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

enum own_mount { OWN_SYS, OWN_PROC, OWN_DEV, OWN_PTS, OWN_SHM, OWN_TMP, OWN_RUN, _OWN_MOUNTS };

struct own_mount_info {
    const char *name; /* its place below the root, without the slash in front */
    const char *type;
    uint64_t attributes;     /* MOUNT_ATTR_* */
    const char *options[14]; /* key, value, …, NULL, NULL; a NULL value makes a flag */
};

extern const struct own_mount_info own_mounts[_OWN_MOUNTS];

/* A new, detached one: fd or -errno. With the host's network OWN_SYS is the host's instead. As
 * mount_new. */
int own_mount_new(enum own_mount which) _must_check_;
