/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits of the processes of a sandbox: those of the configuration and, in their
 * place, what --ulimit asks for. Init sets them for each command; what is above its own hard
 * limits isolated raises for it first. */
#pragma once

#include "daemon/daemon.h"

/* What a run that asks for these gets. */
void rlimits_plan(const struct daemon *daemon, const struct rlimit_wishes *asked,
                  struct rlimit_wishes *ret);

/* Whether the caller may ask for that, and isolated can give it. Who is not root only lowers
 * hard limits. Changes nothing. */
int rlimits_check(const struct daemon *daemon, const struct peer *peer,
                  const struct rlimit_wishes *asked, struct error *err) _must_check_;

/* Raises init's hard limits to those of the plan, whose lower ones it sets itself; as root. 1
 * where it did: what init has started before has them not. */
int rlimits_raise(pid_t init, uint32_t first_id, const struct rlimit_wishes *planned,
                  struct error *err) _must_check_;
