/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap as the original has them: a read-only root, tmpfs on /tmp and /home,
 * no capabilities, every namespace but, with -n, the network's. */
#include "client/user_bwrap.h"

#include "sys/bwrap.h"

size_t user_bwrap_argv(const struct user_bwrap *plan,
                       const char *ret[static USER_BWRAP_ARGS_MAX])
{
    struct args args = {.items = ret, .max = USER_BWRAP_ARGS_MAX};
    const struct original *original = plan->original;
    args_add(&args, "bwrap", "--unshare-all", original->network ? "--share-net" : NULL);
    args_add(&args, "--die-with-parent", NULL, NULL);
    args_add(&args, "--ro-bind", original->directory, "/");
    args_add(&args, "--proc", "/proc", NULL);
    args_add(&args, "--dev", "/dev", NULL);
    args_add(&args, "--tmpfs", "/tmp", NULL);
    if (plan->has_home)
        args_add(&args, "--tmpfs", "/home", NULL);
    for (int i = 0; i < original->n_binds; i++)
        args_add(&args, "--bind", plan->halves[i][0], plan->halves[i][1]);
    if (*plan->hostname)
        args_add(&args, "--hostname", plan->hostname, NULL);
    args_add(&args, "--cap-drop", "ALL", NULL);
    args_add(&args, "--clearenv", NULL, NULL);
    args_add(&args, "--setenv", "PATH", ORIGINAL_PATH);
    for (int i = 0; i < original->n_env; i++)
        args_add(&args, "--setenv", plan->halves[original->n_binds + i][0],
                 plan->halves[original->n_binds + i][1]);
    bwrap_add_filters(&args, USER_BWRAP_FILTER_FD, plan->n_filters);
    args_add(&args, "--chdir", plan->workdir, "--");
    return args.n;
}
