/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap as the original has them: a read-only root, tmpfs on /tmp and /home,
 * no capabilities, every namespace but, with -n, the network's. */
#include "client/user_bwrap.h"

#include "base/text.h"

struct args {
    const char **items;
    size_t n;
};

static void add(struct args *args, const char *first, const char *second, const char *third)
{
    const char *const words[] = {first, second, third};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (words[i] && args->n < USER_BWRAP_ARGS_MAX - 1)
            args->items[args->n++] = words[i];
    args->items[args->n] = NULL;
}

static void add_filters(struct args *args, unsigned n)
{
    static const char *const numbers[] = {"12", "13", "14", "15"};
    _Static_assert(USER_BWRAP_FILTER_FD == 12, "the numbers above");
    for (unsigned i = 0; i < n && i < ELEMENTS(numbers); i++)
        add(args, "--add-seccomp-fd", numbers[i], NULL);
}

size_t user_bwrap_argv(const struct user_bwrap *plan,
                       const char *ret[static USER_BWRAP_ARGS_MAX])
{
    struct args args = {ret, 0};
    const struct original *original = plan->original;
    add(&args, "bwrap", "--unshare-all", original->network ? "--share-net" : NULL);
    add(&args, "--die-with-parent", NULL, NULL);
    add(&args, "--ro-bind", original->directory, "/");
    add(&args, "--proc", "/proc", NULL);
    add(&args, "--dev", "/dev", NULL);
    add(&args, "--tmpfs", "/tmp", NULL);
    if (plan->has_home)
        add(&args, "--tmpfs", "/home", NULL);
    for (int i = 0; i < original->n_binds; i++)
        add(&args, "--bind", plan->halves[i][0], plan->halves[i][1]);
    if (*plan->hostname)
        add(&args, "--hostname", plan->hostname, NULL);
    add(&args, "--cap-drop", "ALL", NULL);
    add(&args, "--clearenv", NULL, NULL);
    add(&args, "--setenv", "PATH", ORIGINAL_PATH);
    for (int i = 0; i < original->n_env; i++)
        add(&args, "--setenv", plan->halves[original->n_binds + i][0],
            plan->halves[original->n_binds + i][1]);
    add_filters(&args, plan->n_filters);
    add(&args, "--chdir", plan->workdir, "--");
    return args.n;
}
