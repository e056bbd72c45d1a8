/* SPDX-License-Identifier: Apache-2.0 */
/* The engine bwrap: the machine's own bubblewrap makes the sandbox of the command, as root of
 * the pod's user namespace and never as root of the host. Binds and tmpfs are in the root that
 * it gets. Runs in isolated as root. */
#include "engine/bwrap.h"
#include "base/text.h"
#include "engine/engines.h"
#include "engine/pod.h"
#include "sys/bwrap.h"
#include "sys/caps.h"
#include "sys/filter.h"
#include "sys/filter_walk.h"
#include "sys/hidden.h"

#include <sys/stat.h>

static int bwrap_build(const struct engine_instance *instance, const struct engine_shape *shape,
                       int root_mount_fd, struct error *err)
{
    struct engine_shape foreign = *shape;
    foreign.foreign = true;
    return pod_build(instance, &foreign, root_mount_fd, err);
}

static unsigned count_filters(uint32_t flags)
{
    unsigned n = 0;
    const void *instructions = NULL;
    struct filter_walk walk = {0};
    walk.at = filter_programs(flags, &walk.left);
    for (size_t size = 0; filter_next(&walk, &instructions, &size);)
        n++;
    return n;
}

/* What of proc there is to hide: the same for as long as the machine runs. */
static void look_at_proc(struct bwrap_plan *ret)
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

/* The inner init becomes the command's user, and bounds what that has. */
static void make_plan(const struct engine_claim *claim, struct bwrap_plan *ret)
{
    static struct bwrap_plan of_proc;
    if (of_proc.n_hidden + of_proc.n_read_only == 0)
        look_at_proc(&of_proc);
    *ret = of_proc;
    ret->capabilities = claim->start->capabilities | caps_from_name("SETUID") |
                        caps_from_name("SETGID") | caps_from_name("SETPCAP");
    ret->n_filters = count_filters(claim->filter_flags);
}

static int bwrap_claim(const struct engine_instance *instance, const struct engine_claim *claim,
                       struct error *err)
{
    struct bwrap_plan plan;
    const char *argv[BWRAP_ARGS_MAX];
    struct start start = *claim->start;
    struct engine_claim with = *claim;
    make_plan(claim, &plan);
    start.n_engine = (uint32_t)bwrap_argv(&plan, argv);
    start.engine = argv;
    with.start = &start;
    return pod_claim(instance, &with, err);
}

const struct engine engine_bwrap = {
    .name = "bwrap",
    .package = "bubblewrap",
    .capabilities = ENGINE_ISOLATES | ENGINE_PARKS | ENGINE_EXEC | ENGINE_BINDS |
                    ENGINE_CLONES | ENGINE_CAPABILITIES,
    .probe = bwrap_find,
    .spawn = pod_spawn,
    .build = bwrap_build,
    .prepare = pod_prepare,
    .claim = bwrap_claim,
};
