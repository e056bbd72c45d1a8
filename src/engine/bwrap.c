/* SPDX-License-Identifier: Apache-2.0 */
/* The engine bwrap: the machine's own bubblewrap makes the sandbox of the command, as root of
 * the pod's user namespace and never as root of the host. Binds and tmpfs are in the root that
 * it gets. Runs in isolated as root. */
#include "sys/bwrap.h"
#include "engine/engines.h"
#include "engine/order.h"
#include "engine/pod.h"

static int bwrap_probe(const char *argument, struct error *err)
{
    return bwrap_find(err);
}

static int bwrap_complete(const struct engine_claim *claim, struct engine_told *ret,
                          struct error *err)
{
    return order_complete(claim, bwrap_order, NULL, ret, err);
}

const struct engine engine_bwrap = {
    .name = "bwrap",
    .package = "bubblewrap",
    .oldest = "bubblewrap 0.8",
    .capabilities = ENGINE_SANDBOX,
    .is_ahead = true,
    .probe = bwrap_probe,
    .spawn = pod_spawn,
    .build = order_build,
    .enter = pod_enter,
    .prepare = pod_prepare,
    .complete = bwrap_complete,
    .claim = pod_claim,
};
