/* SPDX-License-Identifier: Apache-2.0 */
/* Devices of the machine that a run asks for (binds with `device`). */
#pragma once

#include "daemon/daemon.h"
#include "spec/policy.h"

/* Before anything is built: whether all of them are character devices and the caller may have
 * them. Members: those that their policy lists and they can open themselves. Waits for a child
 * that looks at files of root's configuration only. */
int devices_allow(const struct policy_rights *rights, const struct peer *peer,
                  const struct run_request *request, const struct fd_list *fds,
                  struct error *err) _must_check_;

/* A detached mount of a node of its own for the device that fd shows; it belongs to these ids
 * of the machine. Waits for a child that makes it. fd or -errno. */
int device_mount(const struct run_bind *bind, int fd, uint32_t uid, uint32_t gid,
                 struct error *err) _must_check_;
