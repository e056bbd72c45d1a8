/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign engines: what spec/message.h says of them, on both sides. engine.c runs in init, as
 * root of the sandbox's user namespace; inner.c in what the engine has made, with what it has
 * left of that. */
#pragma once

#include "init/init.h"

/* engine.c: executes the engine that command->start names, and through it the command. usr_fd:
 * a detached mount of the host's /usr. The pid of the command, or -errno where it could not be
 * executed: then the engine is gone, and what it said is in the error. */
pid_t engine_run(const struct command *command, int spec_fd, int usr_fd,
                 struct engine_child *ret, struct error *err) _must_check_;

/* The engine has ended, with this wait status: that of the command, where it is known. */
int engine_status(const struct engine_child *child, int status);

/* inner.c: the inner init's main. */
int inner_main(void);
