/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap as the original has them: a read-only root, tmpfs on /tmp and /home,
 * no capabilities, every namespace but, with -n, the network's. */
#include "client/user_bwrap.h"

#include "sys/bwrap.h"

/* Nothing of the root is changed: /run becomes a file system in memory. */
static void add_display(struct args *args, const struct user_bwrap *plan)
{
    static const char *const numbers[] = {"20", "21", "22", "23"};
    _Static_assert(USER_BWRAP_SECRET_FD == 20 && ELEMENTS(numbers) == DISPLAY_FILES,
                   "the numbers above");
    const struct display *display = plan->display;
    args_add(args, "--tmpfs", "/run", NULL);
    args_add(args, "--perms", "0700", NULL);
    args_add(args, "--dir", display->directory, NULL);
    for (size_t i = 0; i < display->n_sockets; i++)
        args_add(args, "--ro-bind", display->sockets[i].source, display->sockets[i].target);
    for (size_t i = 0; i < display->n_secrets; i++) {
        args_add(args, "--perms", "0600", NULL);
        args_add(args, "--file", numbers[i], plan->targets[i]);
    }
    if (display->keeper_fd >= 0)
        args_add(args, "--sync-fd", "24", NULL);
    _Static_assert(USER_BWRAP_KEEPER_FD == 24, "the number above");
}

size_t user_bwrap_argv(const struct user_bwrap *plan,
                       const char *ret[static USER_BWRAP_ARGS_MAX])
{
    struct args args = {.items = ret, .max = USER_BWRAP_ARGS_MAX};
    const struct original *original = plan->original;
    if (plan->is_mapped) {
        args_add(&args, "bwrap", "--unshare-ipc", "--unshare-pid");
        args_add(&args, "--unshare-uts", "--unshare-cgroup",
                 original->network ? NULL : "--unshare-net");
    } else {
        args_add(&args, "bwrap", "--unshare-all", original->network ? "--share-net" : NULL);
    }
    args_add(&args, "--die-with-parent", NULL, NULL);
    args_add(&args, "--ro-bind", original->directory, "/");
    args_add(&args, "--proc", "/proc", NULL);
    args_add(&args, "--dev", "/dev", NULL);
    args_add(&args, "--tmpfs", "/tmp", NULL);
    if (plan->has_home)
        args_add(&args, "--tmpfs", "/home", NULL);
    if (plan->display)
        add_display(&args, plan);
    for (int i = 0; i < original->n_binds; i++)
        args_add(&args, "--bind", plan->halves[i][0], plan->halves[i][1]);
    if (*plan->hostname)
        args_add(&args, "--hostname", plan->hostname, NULL);
    args_add(&args, "--cap-drop", "ALL", NULL);
    args_add(&args, "--clearenv", NULL, NULL);
    args_add(&args, "--setenv", "PATH", ORIGINAL_PATH);
    args_add(&args, "--setenv", "HOME", plan->has_home ? "/home" : "/tmp");
    if (plan->terminal)
        args_add(&args, "--setenv", "TERM", plan->terminal);
    for (size_t i = 0; i < plan->n_env; i++)
        args_add(&args, "--setenv", plan->env[i][0], plan->env[i][1]);
    for (int i = 0; i < original->n_env; i++)
        args_add(&args, "--setenv", plan->halves[original->n_binds + i][0],
                 plan->halves[original->n_binds + i][1]);
    bwrap_add_filters(&args, USER_BWRAP_FILTER_FD, plan->n_filters);
    args_add(&args, "--chdir", plan->workdir, "--");
    return args.n;
}
