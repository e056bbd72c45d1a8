/* SPDX-License-Identifier: Apache-2.0 */
/* The engine oci: any runtime of the OCI runtime specification, given a bundle in the pod, as
 * root of the pod's user namespace and never as root of the host. Runs in isolated as root. */
#include "base/text.h"
#include "engine/engines.h"
#include "engine/order.h"
#include "engine/pod.h"

#include <string.h>
#include <unistd.h>

/* A runtime that is named must be part of the machine: the pod shows nothing else. */
static int check_named(const char *program, struct error *err)
{
    if (!text_after(program, "/usr/") || strstr(program, "/../"))
        return fail(err, ERROR_INVALID, EINVAL,
                    "engine oci: the runtime %.200s: a program below /usr is needed, as in "
                    "oci:/usr/bin/crun",
                    program);
    return access(program, X_OK) == 0
               ? 0
               : fail(err, ERROR_NOT_FOUND, errno, "engine oci: the runtime %.200s: ", program);
}

static const char *find_runtime(void)
{
    for (size_t i = 0; engine_oci_runtimes[i]; i++)
        if (access(engine_oci_runtimes[i], X_OK) == 0)
            return engine_oci_runtimes[i];
    return NULL;
}

static int oci_probe(const char *argument, struct error *err)
{
    if (argument)
        return check_named(argument, err);
    return find_runtime() ? 0
                          : fail(err, ERROR_UNSUPPORTED, ENOENT,
                                 "engine oci: no OCI runtime is installed; apt install runc");
}

static int oci_complete(const struct engine_claim *claim, struct engine_told *ret,
                        struct error *err)
{
    const char *program = claim->argument ? claim->argument : find_runtime();
    if (!program)
        return oci_probe(NULL, err);
    return order_complete(claim, oci_order, program, ret, err);
}

const char *const engine_oci_runtimes[] = {
    "/usr/sbin/runc", "/usr/bin/runc", "/usr/bin/crun", "/usr/sbin/crun", NULL,
};

const struct engine engine_oci = {
    .name = "oci",
    .package = "runc",
    .oldest = "runc 1.1, crun 1.8",
    .argument = "PATH",
    .capabilities = ENGINE_SANDBOX,
    .probe = oci_probe,
    .spawn = order_spawn,
    .build = order_build,
    .enter = pod_enter,
    .prepare = pod_prepare,
    .complete = oci_complete,
    .claim = pod_claim,
};
