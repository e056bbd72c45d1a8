/* SPDX-License-Identifier: Apache-2.0 */
/* The engine chroot: root of the machine in a directory, with mounts, processes and a host name
 * of its own that all go with the command, and no isolation at all: ids, capabilities, network
 * and devices are the machine's. For the maintenance of templates; root only. Runs in isolated
 * as root. */
#include "engine/engines.h"
#include "engine/pod.h"

static int chroot_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                        struct error *err)
{
    struct engine_shape bare = *shape;
    bare.host_ids = true;
    return pod_spawn(&bare, ret, err);
}

static int chroot_complete(const struct engine_claim *claim, struct engine_told *ret,
                           struct error *err)
{
    ret->start.flags = (ret->start.flags | START_UNCONFINED) & ~START_SCOPED;
    return 0;
}

const struct engine engine_chroot = {
    .name = "chroot",
    .capabilities = ENGINE_NESTS,
    .spawn = chroot_spawn,
    .build = pod_build,
    .complete = chroot_complete,
    .claim = pod_claim,
};
