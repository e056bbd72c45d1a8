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
#define SETTINGS_MAX  7

struct setting {
    const char *option;
    const char *controller;
    const char *file;
    bool if_there; /* a kernel that has no such file is no reason to fail */
    char value[CPU_LIST_TEXT];
};

struct settings {
    struct setting items[SETTINGS_MAX];
    size_t n;
};

static struct setting *add(struct settings *settings, const char *option,
                           const char *controller, const char *file)
{
    struct setting *setting = &settings->items[settings->n++];
    *setting = (struct setting){.option = option, .controller = controller, .file = file};
    return setting;
}

static void set_number(struct setting *setting, uint64_t value)
{
    (void)snprintf(setting->value, sizeof(setting->value), "%" PRIu64, value);
}

/* BFQ has weights up to 1000, and the same default of 100. */
static uint64_t weight_of_bfq(uint64_t weight)
{
    return weight <= 100 ? weight : 100 + (weight - 100) / 11;
}

/* Which of the two counts is the disk's. */
static void add_io_weight(struct settings *settings, uint64_t weight)
{
    struct setting *setting = add(settings, "--io-weight", "io", "io.weight");
    setting->if_there = true;
    set_number(setting, weight);
    setting = add(settings, "--io-weight", "io", "io.bfq.weight");
    setting->if_there = true;
    set_number(setting, weight_of_bfq(weight));
}

static void settings_of(const struct run_limits *limits, struct settings *ret)
{
    ret->n = 0;
    /* swap first: what is over the limit of memory is not to go there */
    if (limits->has_swap || limits->memory_bytes > 0) {
        struct setting *swap =
            add(ret, limits->has_swap ? "--swap" : "--memory", "memory", "memory.swap.max");
        swap->if_there = !limits->has_swap; /* swap is not counted by every kernel */
        set_number(swap, limits->swap_bytes);
    }
    if (limits->memory_bytes > 0)
        set_number(add(ret, "--memory", "memory", "memory.max"), limits->memory_bytes);
    if (limits->cpus_milli > 0) {
        struct setting *cpus = add(ret, "--cpus", "cpu", "cpu.max");
        (void)snprintf(cpus->value, sizeof(cpus->value), "%" PRIu64 " %d",
                       limits->cpus_milli * CPU_PERIOD_US / 1000, CPU_PERIOD_US);
    }
    if (*limits->cpuset) {
        struct setting *cpuset = add(ret, "--cpuset", "cpuset", "cpuset.cpus");
        (void)snprintf(cpuset->value, sizeof(cpuset->value), "%s", limits->cpuset);
    }
    if (limits->pids > 0)
        set_number(add(ret, "--pids", "pids", "pids.max"), limits->pids);
    if (limits->io_weight > 0)
        add_io_weight(ret, limits->io_weight);
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
    bool domain = streq(controller, "memory") || streq(controller, "io");
    if (!domain || cgroup_gives_controller(parent_fd, controller) != 0 ||
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

/* The kernel takes any list, and runs a group whose processors are not there on all. */
static int require_processors(int parent_fd, const char *wanted, struct error *err)
{
    char path[512];
    struct cpu_list list;
    struct cpu_list there;
    _cleanup_buffer_ struct buffer text = {0};
    path_of(parent_fd, path, sizeof(path));
    int r = file_read_at(parent_fd, "cpuset.cpus.effective", 8 * CPU_LIST_MAX, &text);
    if (r < 0 || !text.data)
        return fail(err, ERROR_SYSTEM, r, "--cpuset: read %s/cpuset.cpus.effective: ", path);
    text.data[strcspn(text.data, "\n")] = '\0';
    r = cpu_list_parse(text.data, &there, "cpuset.cpus.effective", err);
    if (r == 0)
        r = cpu_list_parse(wanted, &list, "--cpuset", err);
    if (r == 0 && !cpu_list_is_within(&list, &there))
        return fail(err, ERROR_UNSUPPORTED, ENXIO,
                    "--cpuset %s: sandboxes have the processors %s (cpuset.cpus.effective of "
                    "%s)",
                    wanted, text.data, path);
    return r;
}

static int require_weights(int parent_fd, struct error *err)
{
    if (faccessat(parent_fd, "io.weight", F_OK, 0) == 0 ||
        faccessat(parent_fd, "io.bfq.weight", F_OK, 0) == 0)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, ENOENT,
                "--io-weight: this kernel's controller \"io\" has no weights (it was built "
                "without blk-iocost, and BFQ is not loaded); run: modprobe bfq");
}

int limits_require(int parent_fd, const struct run_limits *limits, bool enable,
                   struct error *err)
{
    struct settings settings;
    int r = 0;
    settings_of(limits, &settings);
    for (size_t i = 0; i < settings.n && r == 0; i++)
        r = require(parent_fd, &settings.items[i], enable, err);
    if (r == 0 && *limits->cpuset)
        r = require_processors(parent_fd, limits->cpuset, err);
    return r == 0 && limits->io_weight > 0 ? require_weights(parent_fd, err) : r;
}

int limits_apply(int leaf_fd, const struct run_limits *limits, struct error *err)
{
    struct settings settings;
    settings_of(limits, &settings);
    for (size_t i = 0; i < settings.n; i++) {
        const struct setting *setting = &settings.items[i];
        int r = file_write_at(leaf_fd, setting->file, setting->value);
        if (r == 0 || (r == -ENOENT && setting->if_there))
            continue;
        if (r == -ENOENT && streq(setting->file, "memory.swap.max"))
            return fail(err, ERROR_UNSUPPORTED, r,
                        "--swap: this kernel does not count swap (no memory.swap.max); boot "
                        "with swapaccount=1");
        return fail(err, ERROR_SYSTEM, r, "%s: write %s to %s: ", setting->option,
                    setting->value, setting->file);
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
} shown[] = {{"memory_bytes", "memory.max"}, {"swap_bytes", "memory.swap.max"},
             {"cpus_milli", "cpu.max"},      {"pids", "pids.max"},
             {"cpuset", "cpuset.cpus"},      {"io_weight", "io.weight"}};

/* "default N", or N as it is written; 100 is what there is without a limit. */
static void add_weight(json_t *object, const char *text)
{
    const char *number = text_after(text, "default ");
    if (!streq(number ? number : text, "100"))
        add_number(object, "io_weight", number ? number : text);
}

/* What such a file has in it. */
static void add_limit(json_t *object, size_t which, const char *text)
{
    if (streq(shown[which].file, "cpu.max"))
        add_cpus(object, text);
    else if (streq(shown[which].file, "cpuset.cpus") && *text)
        (void)json_object_set_new(object, "cpuset", json_string(text));
    else if (streq(shown[which].file, "io.weight"))
        add_weight(object, text);
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
        if (file_read_at(leaf_fd, shown[i].file, 8 * CPU_LIST_MAX, &text) < 0 || !text.data)
            continue;
        text.data[strcspn(text.data, "\n")] = '\0';
        add_limit(object, i, text.data);
    }
    return unless_empty(object);
}

json_t *limits_wanted_to_json(const struct run_limits *limits)
{
    struct settings settings;
    json_t *object = json_object();
    settings_of(limits, &settings);
    for (size_t i = 0; object && i < settings.n; i++)
        for (size_t k = 0; k < ELEMENTS(shown); k++)
            if (streq(settings.items[i].file, shown[k].file))
                add_limit(object, k, settings.items[i].value);
    if (limits->disk_bytes > 0)
        (void)json_object_set_new(object, "disk_bytes",
                                  json_integer((json_int_t)limits->disk_bytes));
    return unless_empty(object);
}
