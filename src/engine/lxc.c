/* SPDX-License-Identifier: Apache-2.0 */
/* The engine lxc: the machine's own LXC starts a container in the pod, as root of the pod's
 * user namespace and never as root of the host. Runs in isolated as root. */
#include "engine/engines.h"
#include "engine/order.h"
#include "engine/pod.h"

#include <unistd.h>

static int lxc_probe(const char *argument, struct error *err)
{
    if (access(LXC_PROGRAM, X_OK) == 0)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, errno,
                "engine lxc: %s is not installed; apt install lxc", LXC_PROGRAM);
}

static int lxc_complete(const struct engine_claim *claim, struct engine_told *ret,
                        struct error *err)
{
    return order_complete(claim, lxc_order, NULL, ret, err);
}

const struct engine engine_lxc = {
    .name = "lxc",
    .package = "lxc",
    .capabilities = ENGINE_ISOLATES | ENGINE_PARKS | ENGINE_EXEC | ENGINE_BINDS |
                    ENGINE_CLONES | ENGINE_CAPABILITIES | ENGINE_DISPLAY,
    .probe = lxc_probe,
    .spawn = order_spawn,
    .build = order_build,
    .prepare = pod_prepare,
    .complete = lxc_complete,
    .claim = pod_claim,
};
