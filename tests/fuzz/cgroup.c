/* SPDX-License-Identifier: Apache-2.0 */
/* sys/cgroup.c: the files of a group, and where the machine has them mounted. */
#include "target.h"

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

const bool target_needs_walls = false;

/* The list of mounts is the target's. */
FILE *__wrap_fopen64(const char *path, const char *mode);
FILE *__real_fopen64(const char *path, const char *mode);
FILE *__wrap_fopen64(const char *path, const char *mode)
{
    if (!streq(path, "/proc/self/mounts"))
        return __real_fopen64(path, mode);
    int fd = openat(target_directory_fd(), "mounts", O_RDONLY | O_CLOEXEC);
    FILE *file = fd < 0 ? NULL : fdopen(fd, mode);
    if (!file)
        fd_close(fd);
    return file;
}

static void find_mount(const char *mounts)
{
    char place[512] = "";
    char small[8] = "";
    target_write("mounts", mounts, strlen(mounts));
    int r = cgroup_find_mount(place, sizeof(place));
    MUST(r == 0 || r == -ENOENT);
    MUST(r < 0 || (strstr(mounts, " cgroup2") && *place && strstr(mounts, place)));
    MUST(cgroup_find_mount(small, sizeof(small)) == r);
    MUST(strncmp(place, small, strlen(small)) == 0);
}

void target_run(const uint8_t *data, size_t size)
{
    static const char *const keys[] = {"", "populated ", "oom_kill ", "usage_usec "};
    struct input input = {data, size};
    const char *key = keys[input_below(&input, ELEMENTS(keys))];
    int fd = target_directory_fd();
    uint64_t value = 0;
    _cleanup_free_ char *events = input_text(&input);
    _cleanup_free_ char *controllers = input_text(&input);
    _cleanup_free_ char *processes = input_text(&input);
    _cleanup_free_ char *mounts = input_rest(&input);
    (void)mkdirat(fd, "network", 0700);
    target_write("cgroup.events", events, strlen(events));
    target_write("cgroup.controllers", controllers, strlen(controllers));
    target_write("cgroup.subtree_control", controllers, strlen(controllers));
    target_write("cgroup.procs", processes, strlen(processes));
    target_write("network/cgroup.procs", processes, strlen(processes));
    find_mount(mounts);
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
