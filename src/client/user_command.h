/* SPDX-License-Identifier: Apache-2.0 */
/* Whether bwrap will find the command of an ordinary user's run: of one that is missing and of
 * one that cannot be executed it says only that it ends with status 1. */
#pragma once

/* 0, 126 or 127, as the shells have it. root: O_PATH of the directory, borrowed. */
int user_command_check(int root, const char *command);
