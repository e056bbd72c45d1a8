/* SPDX-License-Identifier: Apache-2.0 */
/* See usage.h. Runs in isolated as root; reads kernel files of the sandbox's own cgroup.
 * Source: Documentation/admin-guide/cgroup-v2.rst. */
#include "daemon/usage.h"

#include "base/buffer.h"
#include "base/text.h"
#include "spec/message.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <string.h>

#define IO_STAT_MAX 65536

void usage_want(int parent_fd)
{
    static const char *const controllers[] = {"memory", "io", "pids"};
    for (size_t i = 0; i < ELEMENTS(controllers); i++)
        if (cgroup_has_controller(parent_fd, controllers[i]) == 1)
            (void)!cgroup_enable_controller(parent_fd, controllers[i]);
}

/* The sum of all disks: "8:0 rbytes=1 wbytes=2 rios=…" a line. */
static uint64_t sum_of(const char *text, const char *key)
{
    uint64_t sum = 0;
    for (const char *at = strstr(text, key); at; at = strstr(at, key)) {
        at += strlen(key);
        sum += strtoull(at, NULL, 10);
    }
    return sum;
}

static void add(json_t *object, const char *key, uint64_t value)
{
    (void)json_object_set_new(object, key, json_integer((json_int_t)value));
}

void usage_add(int leaf_fd, json_t *usage)
{
    uint64_t peak = 0;
    _cleanup_buffer_ struct buffer io = {0};
    if (leaf_fd < 0)
        return;
    if (cgroup_read_value(leaf_fd, "memory.peak", "", &peak) == 0)
        add(usage, "memory_peak_bytes", peak);
    if (file_read_at(leaf_fd, "io.stat", IO_STAT_MAX, &io) < 0)
        return;
    add(usage, "io_read_bytes", io.data ? sum_of(io.data, " rbytes=") : 0);
    add(usage, "io_written_bytes", io.data ? sum_of(io.data, " wbytes=") : 0);
}

json_t *usage_reached(int leaf_fd, int exit_kind)
{
    static const struct {
        const char *name;
        const char *file;
        const char *key;
    } counted[] = {{"oom", "memory.events", "oom_kill "}, {"pids", "pids.events", "max "}};
    json_t *list = json_array();
    for (size_t i = 0; i < ELEMENTS(counted) && leaf_fd >= 0; i++) {
        uint64_t n = 0;
        if (cgroup_read_value(leaf_fd, counted[i].file, counted[i].key, &n) == 0 && n > 0)
            (void)json_array_append_new(list, json_string(counted[i].name));
    }
    if (exit_kind == EXIT_KIND_TIMEOUT || exit_kind == EXIT_KIND_CPU_TIME)
        (void)json_array_append_new(
            list, json_string(exit_kind == EXIT_KIND_TIMEOUT ? "time" : "cpu_time"));
    return list;
}
