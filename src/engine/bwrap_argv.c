/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of bwrap: what it makes of a pod whose root is at ENGINE_ROOT. Only the pid and
 * the mount namespace are its own: the others are the pod's already. */
#include "engine/bwrap.h"

#include "spec/message.h"
#include "sys/caps.h"

struct args {
    const char **items;
    size_t n;
};

static void add(struct args *args, const char *first, const char *second, const char *third)
{
    const char *const words[] = {first, second, third};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (words[i] && args->n < BWRAP_ARGS_MAX - 1)
            args->items[args->n++] = words[i];
    args->items[args->n] = NULL;
}

static void add_proc(struct args *args, const struct bwrap_plan *plan)
{
    add(args, "--proc", "/proc", NULL);
    for (size_t i = 0; i < plan->n_read_only; i++)
        add(args, "--ro-bind", plan->read_only[i], plan->read_only[i]);
    for (size_t i = 0; i < plan->n_hidden; i++) {
        const char *path = plan->hidden[i].path;
        if (!plan->hidden[i].is_directory) {
            add(args, "--ro-bind", ENGINE_NULL, path);
            continue;
        }
        add(args, "--tmpfs", path, NULL);
        add(args, "--remount-ro", path, NULL);
    }
}

static void add_filters(struct args *args, unsigned n)
{
    static const char *const numbers[] = {"12", "13", "14", "15"};
    _Static_assert(ENGINE_FD_FILTER == 12, "the numbers above");
    for (unsigned i = 0; i < n && i < ELEMENTS(numbers); i++)
        add(args, "--add-seccomp-fd", numbers[i], NULL);
}

size_t bwrap_argv(const struct bwrap_plan *plan, const char *ret[static BWRAP_ARGS_MAX])
{
    struct args args = {ret, 0};
    /* the inner init is pid 1: its program can be neither read nor traced, bwrap's could */
    add(&args, BWRAP_PROGRAM, "--unshare-pid", "--as-pid-1");
    add(&args, "--die-with-parent", NULL, NULL);
    add(&args, "--bind", ENGINE_ROOT, "/");
    add(&args, "--dev-bind", ENGINE_ROOT "/dev", "/dev");
    add_proc(&args, plan);
    add(&args, "--cap-drop", "ALL", NULL);
    for (unsigned i = 0; i < 64; i++)
        if ((plan->capabilities & CAP_BIT(i)) && caps_name(i))
            add(&args, "--cap-add", caps_name(i), NULL);
    add_filters(&args, plan->n_filters);
    add(&args, "--chdir", "/", "--");
    add(&args, ENGINE_INNER, "--inner", NULL);
    return args.n;
}
