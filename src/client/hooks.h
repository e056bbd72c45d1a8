/* SPDX-License-Identifier: Apache-2.0 */
/* The hooks of a run: commands of the caller's on the host, before the command starts and after
 * it has ended. They run as the caller, with the caller's environment, in a session of their
 * own; isolated only waits, and shows them the sandbox's root. */
#pragma once

#include "client/run.h"

#include <signal.h>

struct hooks {
    const struct run_draft *draft;
    struct varlink *varlink;
    struct run_outcome *outcome;
    int signal_fd;        /* the caller's signals, which are blocked */
    const sigset_t *mask; /* what the caller had blocked */
    bool passed;          /* the one before the start has succeeded */
    int interrupted_by;   /* a signal ended the one before the start */
};

/* Behind the request: waits until the root is there, runs the hook, says Continue. False where
 * that is not to be: the outcome tells why, and what was made is gone. */
bool hooks_before(struct hooks *hooks) _must_check_;

/* Behind the end, where it is due; the outcome has its status already and keeps it. Then the
 * clone may go, or whoever waits for a kept one may have it. */
void hooks_after(struct hooks *hooks);
