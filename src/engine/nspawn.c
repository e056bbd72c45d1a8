/* SPDX-License-Identifier: Apache-2.0 */
/* The engine nspawn: the machine's own systemd-nspawn starts a container in the pod, as root of
 * the pod's user namespace and never as root of the host, and without machined. It insists on
 * control groups below its own: the sandbox's leaf is delegated to it. Runs in isolated as
 * root.
 */
#include "engine/engines.h"
#include "engine/order.h"
#include "engine/pod.h"
#include "sys/cgroup.h"

static int nspawn_probe(const char *argument, struct error *err)
{
    return order_find("nspawn", NSPAWN_PROGRAM, "systemd-container", err);
}

static int nspawn_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                        struct error *err)
{
    int r = cgroup_delegate(shape->cgroup_fd, shape->first_id);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "cgroup: delegate it to the engine: ")
                 : pod_spawn(shape, ret, err);
}

static int nspawn_complete(const struct engine_claim *claim, struct engine_told *ret,
                           struct error *err)
{
    return order_complete(claim, nspawn_order, NULL, ret, err);
}

const struct engine engine_nspawn = {
    .name = "nspawn",
    .package = "systemd-container",
    .oldest = "systemd-nspawn 252",
    .capabilities = ENGINE_SANDBOX | ENGINE_BOOTS,
    .is_ahead = true,
    .probe = nspawn_probe,
    .spawn = nspawn_spawn,
    .build = order_build,
    .enter = pod_enter,
    .prepare = pod_prepare,
    .complete = nspawn_complete,
    .claim = pod_claim,
};
