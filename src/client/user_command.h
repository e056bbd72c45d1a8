/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bwrap will find the command of an ordinary user's run: of one that is missing and of
 * one that cannot be executed it says only that it ends with status 1. */
#pragma once

#include "client/user_bwrap.h"

#include <stdbool.h>

/* Of plan's command, in the directory with what -d puts over it and what is hidden in it: 0,
 * 126 or 127, as the shells have it. 0 also where only bwrap can tell. root: O_PATH of the
 * directory, borrowed. Opens sources of -d, with the caller's rights. */
int user_command_check(int root, const struct user_bwrap *plan);

/* Whether it is below /tmp or /home, where there is a file system in memory. Pure. */
bool user_path_is_in_memory(const char *path);
