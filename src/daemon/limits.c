/* SPDX-License-Identifier: Apache-2.0 */
/* See limits.h. Runs in isolated as root; the numbers are the caller's and checked already.
 * Source: Documentation/admin-guide/cgroup-v2.rst. */
#include "daemon/limits.h"

#include "base/parse.h"
#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#define CPU_PERIOD_US 100000
#define SETTINGS_MAX  4

struct setting {
    const char *option;
    const char *controller;
    const char *file;
    bool if_there; /* a kernel that does not count swap is no reason to fail */
    char value[48];
};

static size_t settings_of(const struct run_limits *limits, struct setting *settings)
{
    size_t n = 0;
    /* swap first: what is over the limit of memory is not to go there */
    if (limits->has_swap || limits->memory_bytes > 0) {
        settings[n] = (struct setting){.option = limits->has_swap ? "--swap" : "--memory",
                                       .controller = "memory",
                                       .file = "memory.swap.max",
                                       .if_there = !limits->has_swap};
        (void)snprintf(settings[n].value, sizeof(settings[n].value), "%" PRIu64,
                       limits->swap_bytes);
        n++;
    }
    if (limits->memory_bytes > 0) {
        settings[n] = (struct setting){
            .option = "--memory", .controller = "memory", .file = "memory.max"};
        (void)snprintf(settings[n].value, sizeof(settings[n].value), "%" PRIu64,
                       limits->memory_bytes);
        n++;
    }
    if (limits->cpus_milli > 0) {
        settings[n] =
            (struct setting){.option = "--cpus", .controller = "cpu", .file = "cpu.max"};
        (void)snprintf(settings[n].value, sizeof(settings[n].value), "%" PRIu64 " %d",
                       limits->cpus_milli * CPU_PERIOD_US / 1000, CPU_PERIOD_US);
        n++;
    }
    if (limits->pids > 0) {
        settings[n] =
            (struct setting){.option = "--pids", .controller = "pids", .file = "pids.max"};
        (void)snprintf(settings[n].value, sizeof(settings[n].value), "%" PRIu64, limits->pids);
        n++;
    }
    return n;
}

/* For messages only. */
static void path_of(int fd, char *out, size_t size)
{
    char link[32];
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    ssize_t n = readlink(link, out, size - 1);
    (void)snprintf(out + (n > 0 ? n : 0), size - (size_t)(n > 0 ? n : 0), "%s",
                   n > 0 ? "" : "the sandboxes' cgroup");
}

/* The group does not have the controller: because nobody gave it, or because version 2 has
 * none. */
static int missing(int parent_fd, const struct setting *setting, struct error *err)
{
    char mount[512] = "";
    char path[512];
    path_of(parent_fd, path, sizeof(path));
    int r = cgroup_find_mount(mount, sizeof(mount));
    _cleanup_close_ int root = r < 0 ? r : open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root >= 0 && cgroup_has_controller(root, setting->controller) == 1)
        return fail(err, ERROR_UNSUPPORTED, ENOENT,
                    "%s needs the cgroup controller \"%s\", which %s was not given; run: "
                    "systemctl start isolate-sandboxes.service (or write +%s to "
                    "cgroup.subtree_control of each group above it)",
                    setting->option, setting->controller, path, setting->controller);
    return fail(err, ERROR_UNSUPPORTED, ENOENT,
                "%s needs the cgroup controller \"%s\", which cgroup v2 at %s does not have: "
                "it is held by cgroup v1 or not in this kernel; boot with "
                "systemd.unified_cgroup_hierarchy=1 (see `isolate doctor`)",
                setting->option, setting->controller, mount);
}

/* What enabling would say. A group with processes of its own can give no domain controller on,
 * unless it is the root, which alone has no cgroup.type. */
static int foresee(int parent_fd, const char *controller)
{
    uint64_t n = 0;
    if (!streq(controller, "memory") || cgroup_gives_controller(parent_fd, controller) != 0 ||
        faccessat(parent_fd, "cgroup.type", F_OK, 0) < 0)
        return 0;
    int r = cgroup_count_processes(parent_fd, &n);
    return r < 0 ? r : n > 0 ? -EBUSY : 0;
}

static int require(int parent_fd, const struct setting *setting, bool enable, struct error *err)
{
    int r = cgroup_has_controller(parent_fd, setting->controller);
    if (r == 0)
        return missing(parent_fd, setting, err);
    if (r > 0)
        r = enable ? cgroup_enable_controller(parent_fd, setting->controller)
                   : foresee(parent_fd, setting->controller);
    if (r == 0)
        return 0;
    char path[512];
    path_of(parent_fd, path, sizeof(path));
    if (r == -EBUSY)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "%s: the cgroup controller \"%s\" cannot be enabled in %s, because "
                    "processes are directly in it (see its cgroup.procs); give isolate a group "
                    "of its own: ",
                    setting->option, setting->controller, path);
    return fail(err, ERROR_SYSTEM, r,
                "%s: enable the cgroup controller \"%s\" in %s: ", setting->option,
                setting->controller, path);
}

int limits_require(int parent_fd, const struct run_limits *limits, bool enable,
                   struct error *err)
{
    struct setting settings[SETTINGS_MAX];
    size_t n = settings_of(limits, settings);
    int r = 0;
    for (size_t i = 0; i < n && r == 0; i++)
        r = require(parent_fd, &settings[i], enable, err);
    return r;
}

int limits_apply(int leaf_fd, const struct run_limits *limits, struct error *err)
{
    struct setting settings[SETTINGS_MAX];
    size_t n = settings_of(limits, settings);
    for (size_t i = 0; i < n; i++) {
        int r = file_write_at(leaf_fd, settings[i].file, settings[i].value);
        if (r == 0 || (r == -ENOENT && settings[i].if_there))
            continue;
        if (r == -ENOENT && streq(settings[i].file, "memory.swap.max"))
            return fail(err, ERROR_UNSUPPORTED, r,
                        "--swap: this kernel does not count swap (no memory.swap.max); boot "
                        "with swapaccount=1");
        return fail(err, ERROR_SYSTEM, r, "%s: write %s to %s: ", settings[i].option,
                    settings[i].value, settings[i].file);
    }
    return 0;
}

static void add_number(json_t *object, const char *name, const char *text)
{
    uint64_t value = 0;
    if (parse_u64(text, 0, INT64_MAX, &value, name, NULL) == 0)
        (void)json_object_set_new(object, name, json_integer((json_int_t)value));
}

/* "QUOTA PERIOD" */
static void add_cpus(json_t *object, const char *text)
{
    char *end = NULL;
    unsigned long long quota = strtoull(text, &end, 10);
    unsigned long long period = end == text ? 0 : strtoull(end, NULL, 10);
    if (period > 0)
        (void)json_object_set_new(object, "cpus_milli",
                                  json_integer((json_int_t)(quota * 1000 / period)));
}

static const struct {
    const char *name;
    const char *file;
} shown[] = {{"memory_bytes", "memory.max"},
             {"swap_bytes", "memory.swap.max"},
             {"cpus_milli", "cpu.max"},
             {"pids", "pids.max"}};

/* What such a file has in it. */
static void add_limit(json_t *object, size_t which, const char *text)
{
    if (streq(shown[which].file, "cpu.max"))
        add_cpus(object, text);
    else
        add_number(object, shown[which].name, text); /* "max": no limit */
}

static json_t *unless_empty(json_t *take_object)
{
    if (json_object_size(take_object) > 0)
        return take_object;
    json_decref(take_object);
    return NULL;
}

json_t *limits_to_json(int leaf_fd)
{
    json_t *object = json_object();
    for (size_t i = 0; object && i < ELEMENTS(shown); i++) {
        _cleanup_buffer_ struct buffer text = {0};
        if (file_read_at(leaf_fd, shown[i].file, 64, &text) < 0 || !text.data)
            continue;
        text.data[strcspn(text.data, "\n")] = '\0';
        add_limit(object, i, text.data);
    }
    return unless_empty(object);
}

json_t *limits_wanted_to_json(const struct run_limits *limits)
{
    struct setting settings[SETTINGS_MAX];
    size_t n = settings_of(limits, settings);
    json_t *object = json_object();
    for (size_t i = 0; object && i < n; i++)
        for (size_t k = 0; k < ELEMENTS(shown); k++)
            if (streq(settings[i].file, shown[k].file))
                add_limit(object, k, settings[i].value);
    if (limits->disk_bytes > 0)
        (void)json_object_set_new(object, "disk_bytes",
                                  json_integer((json_int_t)limits->disk_bytes));
    return unless_empty(object);
}
