/* SPDX-License-Identifier: Apache-2.0 */
/* The parts of isolate-network: see main.c. */
#pragma once

#include "base/error.h"
#include "network/order.h"

#include <sys/types.h>

/* place.c: a root in which pasta finds what it needs and nothing else of the machine; the
 * paths of order.h lead to what fds (enum network_fd) holds. Needs a mount and a pid namespace
 * of its own. */
int place_enter(const struct network_order *order, const int *fds,
                struct error *err) _must_check_;

/* ports.c: whether all that is to be listened at is free. pasta would take the rest of a range
 * without a word. */
int ports_check(const struct network_order *order, struct error *err) _must_check_;

/* guard.c: unless order->flags allow it, nothing in the cgroup connects to the machine's
 * loopback, whatever it is made to do; and nobody binds its UDP ports beside it. */
int guard_attach(const struct network_order *order, int cgroup_fd,
                 struct error *err) _must_check_;

/* bridge.c: connects the sandbox's network namespace with a bridge of the machine's. */
int bridge_connect(const struct network_order *order, int net_fd,
                   struct error *err) _must_check_;

/* pasta.c: starts pasta as order->uid, with what it needs to enter the sandbox's namespaces.
 * arguments are `length` bytes. */
struct pasta {
    pid_t pid;
    int pidfd;
    int stderr_fd; /* what it says */
    int ready_fd;  /* readable when it has done all */
};
int pasta_start(const struct network_order *order, const char *arguments, size_t length,
                struct pasta *ret, struct error *err) _must_check_;
/* From here on this process has no right but to end its own children. */
int network_drop(const struct network_order *order, struct error *err) _must_check_;
