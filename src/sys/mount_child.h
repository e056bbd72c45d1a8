/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts that are made in mount namespaces of their own, and sent from there. Needs root.
 * Functions return an fd of the caller's, or -errno. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* The mount that make(data) returns in a child with these namespaces (CLONE_NEW*) of its own.
 * The child has a copy of all fds. */
int mount_by_child(uint64_t namespaces, int (*make)(const void *data),
                   const void *data) _must_check_;

/* In such a child: makes a tmpfs its working directory, in which MOUNT_PLACE is an empty
 * directory to mount on. What is mounted there appears nowhere else. */
#define MOUNT_PLACE "place"
int mount_enter_place(void) _must_check_;

/* A detached mount (used up) as somebody may be given it who is not root of the machine:
 * whoever attaches it in a mount namespace of their own can clear none of its nodev, nosuid,
 * noexec and read-only. The kernel locks these where a mount is copied into a namespace of
 * another user namespace (mount_namespaces(7)), nosymfollow never. */
int mount_locked(int mount_fd) _must_check_;
