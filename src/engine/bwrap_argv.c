/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap: what it makes of a pod whose root is at ENGINE_ROOT. Only the pid and
 * the mount namespace are its own: the others are the pod's already. Pure. Source: bwrap(1),
 * version 0.8. */
#include "engine/order.h"

#include "spec/message.h"
#include "sys/bwrap.h"
#include "sys/caps.h"

/* For every mount it reads and parses the table of all of them: the inner init masks the rest,
 * with copies of this one. What is at /dev/null in the sandbox may be a caller's. */
static void add_proc(struct args *args, const struct engine_plan *plan)
{
    size_t i = 0;
    args_add(args, "--proc", "/proc", NULL);
    while (i < plan->n_hidden && plan->hidden[i].is_directory)
        i++;
    if (i < plan->n_hidden)
        args_add(args, "--ro-bind", "/dev/null", plan->hidden[i].path);
}

int bwrap_order(const struct engine_plan *plan, struct engine_order *ret)
{
    struct args *args = &ret->args;
    /* the inner init is pid 1: its program can be neither read nor traced, bwrap's could */
    args_add(args, BWRAP_PROGRAM, "--unshare-pid", "--as-pid-1");
    args_add(args, "--die-with-parent", NULL, NULL);
    args_add(args, "--bind", ENGINE_ROOT, "/");
    args_add(args, "--dev-bind", ENGINE_ROOT "/dev", "/dev");
    add_proc(args, plan);
    args_add(args, "--cap-drop", "ALL", NULL);
    /* the inner init mounts; it drops that, and of the others what the start does not have, so
     * that most starts have one order */
    uint64_t capabilities = plan->capabilities | caps_default() | caps_from_name("SYS_ADMIN");
    for (unsigned i = 0; i < 64; i++)
        if ((capabilities & CAP_BIT(i)) && caps_name(i))
            args_add(args, "--cap-add", caps_name(i), NULL);
    args_add(args, "--chdir", "/", "--");
    args_add(args, ENGINE_INNER, ENGINE_INNER_ARGUMENT, ENGINE_INNER_MASKS);
    return 0;
}
