/* SPDX-License-Identifier: Apache-2.0 */
/* The original's hooks (PRE_SPAWN_HOOK, POST_SPAWN_HOOK) where no isolated is: a command that
 * takes the place of this process is run between them. */
#pragma once

/* Runs the first hook, with ROOTFS=root, then start(data), which takes the place of the process
 * that calls it, or tells why it could not and returns an exit status. That process is this one
 * if there is no second hook; else a child, whose end is waited for: signals that are sent to
 * this process go to it. The exit status. */
int user_hooks_run(const char *root, int (*start)(void *data), void *data);
