/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that read or write a lot, in a process of their own. */
#pragma once

#include "daemon/daemon.h"

/* Runs the handler in a fork of isolated whose replies go straight to the caller. */
int apart_call(struct call *call, int (*handler)(struct call *call, struct error *err),
               struct error *err) _must_check_;
/* Their caller is gone: ends them. */
void apart_abandon(struct daemon *daemon, const struct session *session);
/* isolated ends, and with it those that still work. */
void apart_forget_all(struct daemon *daemon);
