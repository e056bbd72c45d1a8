/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign engines have in common what their sandbox is made of, and how they are told. Runs in
 * isolated as root; what comes from callers is validated, and is no part of an order. */
#include "engine/order.h"

#include "engine/pod.h"
#include "spec/engine_places.h"
#include "sys/caps.h"
#include "sys/cgroup.h"
#include "sys/filter.h"
#include "sys/hidden.h"

#include <sys/stat.h>
#include <unistd.h>

int order_find(const char *engine, const char *program, const char *package, struct error *err)
{
    if (access(program, X_OK) == 0)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, errno, "engine %s: %s is not installed; apt install %s",
                engine, program, package);
}

int order_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                struct error *err)
{
    int r = cgroup_show(shape->cgroup_fd);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "cgroup: show it to the engine: ")
                 : pod_spawn(shape, ret, err);
}

int order_build(const struct engine_instance *instance, const struct engine_shape *shape,
                int root_mount_fd, struct error *err)
{
    struct engine_shape foreign = *shape;
    foreign.foreign = true;
    return pod_build(instance, &foreign, root_mount_fd, err);
}

/* What of proc there is to hide: the same for as long as the machine runs. */
static void look_at_proc(struct engine_plan *ret)
{
    struct stat st;
    for (size_t i = 0; hidden_in_proc[i]; i++) {
        if (lstat(hidden_in_proc[i], &st) < 0)
            continue;
        ret->hidden[ret->n_hidden].path = hidden_in_proc[i];
        ret->hidden[ret->n_hidden++].is_directory = S_ISDIR(st.st_mode);
    }
    for (size_t i = 0; read_only_in_proc[i]; i++)
        if (lstat(read_only_in_proc[i], &st) == 0)
            ret->read_only[ret->n_read_only++] = read_only_in_proc[i];
}

/* The inner init becomes the command's user, bounds what that has, and ends what others run. */
static void make_plan(const struct engine_claim *claim, const char *program,
                      struct engine_plan *ret)
{
    static struct engine_plan of_proc;
    if (of_proc.n_hidden + of_proc.n_read_only == 0)
        look_at_proc(&of_proc);
    *ret = of_proc;
    ret->program = program;
    ret->hostname = claim->start->hostname;
    ret->host_network = claim->start->flags & START_SCOPED;
    ret->capabilities = claim->start->capabilities | caps_from_name("SETUID") |
                        caps_from_name("SETGID") | caps_from_name("SETPCAP") |
                        caps_from_name("KILL");
    ret->chance = claim->chance;
}

static uint32_t count(const char *const *strings)
{
    uint32_t n = 0;
    while (strings && strings[n])
        n++;
    return n;
}

static int check_binds(const struct start *start, struct error *err)
{
    int r = 0;
    for (uint32_t i = 0; i < start->n_binds && r == 0; i++)
        r = engine_places_check(&start->engine, start->binds[i].target,
                                start->binds[i].read_only, err);
    return r;
}

int order_complete(const struct engine_claim *claim, order_make *make, const char *program,
                   struct engine_told *ret, struct error *err)
{
    struct engine_plan plan;
    struct engine_order *order = calloc(1, sizeof(*order));
    if (!order)
        return fail(err, ERROR_SYSTEM, ENOMEM, "engine: ");
    ret->order = order;
    order->args = (struct args){order->items, ORDER_ARGS_MAX, 0};
    make_plan(claim, program, &plan);
    int r = make(&plan, order);
    ret->start.engine = (struct start_engine){
        .flags = order->flags,
        .n_argv = (uint32_t)order->args.n,
        .argv = order->items,
        .n_env = count(order->environment),
        .env = (const char **)order->environment,
        .n_files = order->file ? 1 : 0,
        .files = {{.path = order->file, .content = order->text.data}},
    };
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "engine: its configuration: ")
                 : check_binds(&ret->start, err);
}
