/* SPDX-License-Identifier: Apache-2.0 */
/* The bundle of the engine oci: config.json, and the arguments of the runtime. The sandbox is
 * what the pod is already: the runtime makes a mount and a pid namespace of its own in it, with
 * the pod's root. The inner init loads the filters, which are two programs: a bundle can have
 * one only. Pure; allocates. Source: OCI runtime specification 1.0.2, config.md and
 * config-linux.md; runc(8), crun(1). */
#include "engine/order.h"

#include "base/text.h"
#include "spec/message.h"
#include "sys/caps.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

static json_t *capability_names(uint64_t capabilities)
{
    json_t *names = json_array();
    for (unsigned i = 0; i < 64; i++)
        if ((capabilities & CAP_BIT(i)) && caps_name(i))
            (void)json_array_append_new(names, json_string(caps_name(i)));
    return names;
}

static json_t *process(const struct engine_plan *plan)
{
    json_t *names = capability_names(plan->capabilities);
    return json_pack("{s:b, s:{s:i, s:i}, s:[s, s], s:s, s:b, s:{s:O, s:O, s:o}}", "terminal",
                     0, "user", "uid", 0, "gid", 0, "args", ENGINE_INNER, ENGINE_INNER_ARGUMENT,
                     "cwd", "/", "noNewPrivileges", 1, "capabilities", "bounding", names,
                     "effective", names, "permitted", names);
}

static void add_mount(json_t *list, const char *type, const char *source,
                      const char *destination, json_t *options)
{
    (void)json_array_append_new(list,
                                json_pack("{s:s, s:s, s:s, s:o}", "destination", destination,
                                          "type", type, "source", source, "options", options));
}

/* The sandbox's /dev is there already; a bind says so to the runtime, which else makes one.
 * What a mount takes away stays as it is where no option is named. */
static json_t *mounts(void)
{
    json_t *list = json_array();
    add_mount(list, "proc", "proc", "/proc",
              json_pack("[s, s, s]", "nosuid", "nodev", "noexec"));
    add_mount(list, "bind", ENGINE_ROOT "/dev", "/dev", json_pack("[s]", "rbind"));
    return list;
}

static json_t *kernel(const struct engine_plan *plan)
{
    json_t *hidden = json_array();
    json_t *read_only = json_array();
    for (size_t i = 0; i < plan->n_hidden; i++)
        (void)json_array_append_new(hidden, json_string(plan->hidden[i].path));
    for (size_t i = 0; i < plan->n_read_only; i++)
        (void)json_array_append_new(read_only, json_string(plan->read_only[i]));
    return json_pack("{s:[{s:s}, {s:s}], s:o, s:o}", "namespaces", "type", "pid", "type",
                     "mount", "maskedPaths", hidden, "readonlyPaths", read_only);
}

static int append_config(const struct engine_plan *plan, struct buffer *ret)
{
    json_t *config = json_pack("{s:s, s:o, s:{s:s, s:b}, s:o, s:o}", "ociVersion", "1.0.2",
                               "process", process(plan), "root", "path", ENGINE_ROOT,
                               "readonly", 0, "mounts", mounts(), "linux", kernel(plan));
    char *text = config ? json_dumps(config, JSON_INDENT(1)) : NULL;
    if (text)
        buffer_append_text(ret, text);
    free(text);
    json_decref(config);
    return text && !ret->failed ? 0 : -ENOMEM;
}

/* It insists on cgroups unless it is told so. */
static bool is_crun(const struct engine_plan *plan)
{
    return streq(strrchr(plan->program, '/'), "/crun");
}

int oci_order(const struct engine_plan *plan, struct engine_order *ret)
{
    struct args *args = &ret->args;
    args_add(args, plan->program, "--root", "/run");
    if (is_crun(plan))
        args_add(args, "--cgroup-manager=disabled", NULL, NULL);
    args_add(args, "run", "--bundle", ENGINE_FILES);
    args_add(args, "--preserve-fds", "3", ENGINE_NAME);
    _Static_assert((int)ENGINE_FD_INNER == 3 && (int)ENGINE_FD_FILTER == 5, "three fds");
    /* crun mounts the root anew, as if it were neither read-only nor without devices */
    ret->flags = START_ENGINE_SYSTEM | START_ENGINE_LOCKED;
    ret->file = ENGINE_FILES "/config.json";
    return append_config(plan, &ret->text);
}
