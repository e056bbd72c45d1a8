/* SPDX-License-Identifier: Apache-2.0 */
/* The engine lxc: the machine's own LXC starts a container in the pod, as root of the pod's
 * user namespace and never as root of the host. Runs in isolated as root. */
#include "engine/engines.h"
#include "engine/order.h"
#include "engine/pod.h"
#include "sys/apparmor.h"

static int lxc_probe(const char *argument, struct error *err)
{
    return order_find("lxc", LXC_PROGRAM, "lxc", err);
}

/* It listens at an abstract socket, which is not to be in the sandbox's network. */
static int lxc_build(const struct engine_instance *instance, const struct engine_shape *shape,
                     int root_mount_fd, struct error *err)
{
    struct engine_shape apart = *shape;
    apart.apart = !shape->host_network;
    return order_build(instance, &apart, root_mount_fd, err);
}

static int lxc_complete(const struct engine_claim *claim, struct engine_told *ret,
                        struct error *err)
{
    bool profile = apparmor_has_profile(LXC_PROFILE);
    return order_complete(claim, profile ? lxc_order_confined : lxc_order, NULL, ret, err);
}

const struct engine engine_lxc = {
    .name = "lxc",
    .package = "lxc",
    .oldest = "LXC 5.0",
    .capabilities = ENGINE_SANDBOX,
    .probe = lxc_probe,
    .spawn = order_spawn,
    .build = lxc_build,
    .enter = pod_enter,
    .prepare = pod_prepare,
    .complete = lxc_complete,
    .claim = pod_claim,
};
