/* SPDX-License-Identifier: Apache-2.0 */
/* The process of a command, from a fork of init, or of the inner init, to its first
 * instruction. */
#pragma once

#include "base/error.h"
#include "spec/start.h"

#include <stdbool.h>
#include <sys/types.h>

struct account; /* init/init.h */

/* Executes the command in a child with everything dropped. The pid, or -errno where
 * it could not be executed (the child is then gone). */
struct command {
    const struct start *start;
    const struct account *account;
    const int *stdio;          /* three, borrowed */
    int filter_fd;             /* sys/filter_walk.h; -EBADF: none */
    bool early_filters_loaded; /* by others; those for in front of the command are not */
    int patience_ms;           /* until its first instruction; 0: as long as it takes */
    struct runner *prepared;   /* or NULL */
};
pid_t init_run_command(const struct command *command, struct error *err) _must_check_;
/* The same the other way around: the command takes the place of this process, and a child of
 * its goes on from here, in a session of its own. In the child: the pid of the command. */
pid_t init_become_command(const struct command *command, struct error *err) _must_check_;

/* A child that has the filters and the default capabilities' bounds already, and
 * waits for the command. It shares init's memory, which stands still while it works. */
struct runner;
int runner_prepare(int filter_fd, struct runner **ret, struct error *err) _must_check_;
/* It is not to be used after all. */
void runner_discard(struct runner *runner);
