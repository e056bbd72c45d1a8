/* SPDX-License-Identifier: Apache-2.0 */
/* The pod: namespaces, ids and root as the native engine makes them, with init in them. A
 * foreign engine that runs as root of a user namespace is executed in there, and so has the
 * same supervisor. Runs in isolated as root. */
#pragma once

#include "engine/engine.h"

int pod_spawn(const struct engine_shape *shape, struct engine_instance *ret,
              struct error *err) _must_check_;
int pod_build(const struct engine_instance *instance, const struct engine_shape *shape,
              int root_mount_fd, struct error *err) _must_check_;
int pod_enter(const struct engine_instance *instance, int root_mount_fd, bool persistent,
              struct error *err) _must_check_;
int pod_prepare(const struct engine_instance *instance, const struct start *start,
                struct error *err) _must_check_;
int pod_claim(const struct engine_instance *instance, const struct engine_claim *claim,
              struct error *err) _must_check_;
