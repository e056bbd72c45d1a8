/* SPDX-License-Identifier: Apache-2.0 */
/* How a process of isolate's comes to another root than the one that it has. Needs
 * CAP_SYS_ADMIN in the user namespace of the mount namespace. */
#pragma once

#include "base/error.h"

/* Attaches a detached mount over the root and makes it the working directory; the old root is
 * still where absolute paths lead. */
int root_attach(int root_fd, struct error *err) _must_check_;
/* Moves what is mounted at /NAME of the old root to NAME of the new one (an O_PATH fd). */
int root_move(const char *name, int at_fd, struct error *err) _must_check_;
/* Enters it, and forgets what is still mounted below the old one. */
int root_enter(struct error *err) _must_check_;
