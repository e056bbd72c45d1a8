/* SPDX-License-Identifier: Apache-2.0 */
/* sys/cgroup.c: the files of a group. */
#include "target.h"

#include "sys/cgroup.h"

#include <string.h>
#include <sys/stat.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"", "populated ", "oom_kill ", "usage_usec "};
    struct input input = {data, size};
    const char *key = keys[input_below(&input, ELEMENTS(keys))];
    int fd = target_directory_fd();
    uint64_t value = 0;
    _cleanup_free_ char *events = input_text(&input);
    _cleanup_free_ char *controllers = input_text(&input);
    _cleanup_free_ char *processes = input_rest(&input);
    (void)mkdirat(fd, "network", 0700);
    target_write("cgroup.events", events, strlen(events));
    target_write("cgroup.controllers", controllers, strlen(controllers));
    target_write("cgroup.subtree_control", controllers, strlen(controllers));
    target_write("cgroup.procs", processes, strlen(processes));
    target_write("network/cgroup.procs", processes, strlen(processes));
    int r = cgroup_read_value(fd, "cgroup.events", key, &value);
    MUST(r <= 0);
    /* what is there is found, and nothing else */
    MUST(r < 0 || strstr(events, key));
    MUST(cgroup_is_populated(fd) <= 1);
    int memory = cgroup_has_controller(fd, "memory");
    MUST(memory != 1 || strstr(controllers, "memory"));
    MUST(cgroup_gives_controller(fd, "memory") == memory);
    MUST(cgroup_enable_controller(fd, "io") <= 0);
    MUST(cgroup_count_processes(fd, &value) == 0 && value <= 2 * strlen(processes));
}
