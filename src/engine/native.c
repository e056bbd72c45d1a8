/* SPDX-License-Identifier: Apache-2.0 */
/* The native engine: the pod is the sandbox, and init executes the command. */
#include "engine/engines.h"
#include "engine/pod.h"

const struct engine engine_native = {
    .name = "native",
    .capabilities = ENGINE_SANDBOX | ENGINE_NESTED,
    .spawn = pod_spawn,
    .build = pod_build,
    .enter = pod_enter,
    .prepare = pod_prepare,
    .claim = pod_claim,
};
