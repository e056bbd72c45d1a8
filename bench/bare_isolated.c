/* SPDX-License-Identifier: Apache-2.0 */
/* isolated-bare, for confinement.py: isolated whose native engine makes no user and no network
 * namespace, so that ids are the machine's, and which gives up nothing itself. In the place of
 * engine/native.c and daemon/confine.c. Never installed. */
#include "daemon/confine.h"
#include "engine/engines.h"
#include "engine/pod.h"

static int bare_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                      struct error *err)
{
    struct engine_shape bare = *shape;
    bare.host_ids = true;
    bare.host_network = true;
    return pod_spawn(&bare, ret, err);
}

const struct engine engine_native = {
    .name = "native",
    .capabilities = ENGINE_SANDBOX | ENGINE_NESTED,
    .spawn = bare_spawn,
    .build = pod_build,
    .prepare = pod_prepare,
    .claim = pod_claim,
};

uint64_t confine_left(void)
{
    return UINT64_MAX;
}

int confine_machine(struct error *err)
{
    return 0;
}

int confine_work(struct error *err)
{
    return 0;
}

int confine_keeper(struct error *err)
{
    return 0;
}
