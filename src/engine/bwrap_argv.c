/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap: what it makes of a pod whose root is at ENGINE_ROOT. Only the pid and
 * the mount namespace are its own: the others are the pod's already. */
#include "engine/bwrap.h"

#include "spec/message.h"
#include "sys/bwrap.h"
#include "sys/caps.h"

_Static_assert((int)ENGINE_FD_FILTER == BWRAP_FILTER_FD, "init places them there");

static void add_proc(struct bwrap_args *args, const struct bwrap_plan *plan)
{
    bwrap_add(args, "--proc", "/proc", NULL);
    for (size_t i = 0; i < plan->n_read_only; i++)
        bwrap_add(args, "--ro-bind", plan->read_only[i], plan->read_only[i]);
    for (size_t i = 0; i < plan->n_hidden; i++) {
        const char *path = plan->hidden[i].path;
        if (!plan->hidden[i].is_directory) {
            bwrap_add(args, "--ro-bind", ENGINE_NULL, path);
            continue;
        }
        bwrap_add(args, "--tmpfs", path, NULL);
        bwrap_add(args, "--remount-ro", path, NULL);
    }
}

size_t bwrap_argv(const struct bwrap_plan *plan, const char *ret[static BWRAP_ARGS_MAX])
{
    struct bwrap_args args = {.items = ret, .max = BWRAP_ARGS_MAX};
    /* the inner init is pid 1: its program can be neither read nor traced, bwrap's could */
    bwrap_add(&args, BWRAP_PROGRAM, "--unshare-pid", "--as-pid-1");
    bwrap_add(&args, "--die-with-parent", NULL, NULL);
    bwrap_add(&args, "--bind", ENGINE_ROOT, "/");
    bwrap_add(&args, "--dev-bind", ENGINE_ROOT "/dev", "/dev");
    add_proc(&args, plan);
    bwrap_add(&args, "--cap-drop", "ALL", NULL);
    for (unsigned i = 0; i < 64; i++)
        if ((plan->capabilities & CAP_BIT(i)) && caps_name(i))
            bwrap_add(&args, "--cap-add", caps_name(i), NULL);
    bwrap_add_filters(&args, plan->n_filters);
    bwrap_add(&args, "--chdir", "/", "--");
    bwrap_add(&args, ENGINE_INNER, "--inner", NULL);
    return args.n;
}
