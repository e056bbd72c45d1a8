/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap: what it makes of a pod whose root is at ENGINE_ROOT. Only the pid and
 * the mount namespace are its own: the others are the pod's already. Pure. Source: bwrap(1),
 * version 0.8. */
#include "engine/order.h"

#include "spec/message.h"
#include "sys/bwrap.h"
#include "sys/caps.h"

static void add_proc(struct args *args, const struct engine_plan *plan)
{
    args_add(args, "--proc", "/proc", NULL);
    for (size_t i = 0; i < plan->n_read_only; i++)
        args_add(args, "--ro-bind", plan->read_only[i], plan->read_only[i]);
    for (size_t i = 0; i < plan->n_hidden; i++) {
        const char *path = plan->hidden[i].path;
        if (!plan->hidden[i].is_directory) {
            args_add(args, "--ro-bind", "/dev/null", path);
            continue;
        }
        args_add(args, "--tmpfs", path, NULL);
        args_add(args, "--remount-ro", path, NULL);
    }
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
    for (unsigned i = 0; i < 64; i++)
        if ((plan->capabilities & CAP_BIT(i)) && caps_name(i))
            args_add(args, "--cap-add", caps_name(i), NULL);
    bwrap_add_filters(args, ENGINE_FD_FILTER, plan->n_filters);
    args_add(args, "--chdir", "/", "--");
    args_add(args, ENGINE_INNER, ENGINE_INNER_ARGUMENT, NULL);
    ret->flags = START_ENGINE_FILTERS;
    return 0;
}
