/* SPDX-License-Identifier: Apache-2.0 */
/* See cpu_time.h. Runs in isolated as root; reads kernel files of the sandbox's own cgroup. */
#include "daemon/cpu_time.h"

#include "sys/cgroup.h"

#include <fcntl.h>
#include <sys/sysinfo.h>

#define LOOK_MIN_US 1000000
#define LOOK_MAX_US 60000000ULL

static int read_usage(const struct sandbox *sandbox, uint64_t *ret_us)
{
    return cgroup_read_value(sandbox->body.cgroup_fd, "cpu.stat", "usage_usec ", ret_us);
}

int cpu_time_open(const struct sandbox *sandbox, int *ret_fd, struct error *err)
{
    if (sandbox->request.cpu_time_ms == 0)
        return 0;
    *ret_fd = openat(sandbox->body.cgroup_fd, "cpu.stat", O_RDONLY | O_CLOEXEC);
    return *ret_fd < 0 ? fail(err, ERROR_UNSUPPORTED, errno,
                              "--cpu-time: cpu.stat of the sandbox's cgroup: ")
                       : 0;
}

/* As soon as it can be used up; then once more, when init should have ended it. */
static int on_look(sd_event_source *source, uint64_t now_us, void *data)
{
    uint64_t used_us = 0;
    struct sandbox *sandbox = data;
    if (sandbox->cpu_end_us == 0) {
        sandbox_time_is_over(sandbox, EXIT_KIND_CPU_TIME);
        return 0;
    }
    int r = read_usage(sandbox, &used_us);
    uint64_t left_us = sandbox->cpu_end_us - used_us;
    uint64_t next_us = left_us / (uint64_t)get_nprocs();
    if (r < 0 || used_us >= sandbox->cpu_end_us) {
        sandbox->cpu_end_us = 0;
        next_us = SANDBOX_END_GRACE_MS * 1000ULL;
    } else if (next_us < LOOK_MIN_US) {
        next_us = LOOK_MIN_US;
    } else if (next_us > LOOK_MAX_US) {
        next_us = LOOK_MAX_US;
    }
    r = sd_event_source_set_time_relative(source, next_us);
    return r < 0 ? r : sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

int cpu_time_watch(struct sandbox *sandbox, bool adopted, struct error *err)
{
    if (sandbox->request.cpu_time_ms == 0)
        return 0;
    /* of one that is adopted what it had used before its command is not known any more, and
     * little */
    int r = adopted ? 0 : read_usage(sandbox, &sandbox->cpu_end_us);
    sandbox->cpu_end_us += sandbox->request.cpu_time_ms * 1000;
    if (r == 0)
        r = sd_event_add_time_relative(sandbox->body.daemon->event, &sandbox->cpu_timer,
                                       CLOCK_MONOTONIC, LOOK_MIN_US, 0, on_look, sandbox);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the CPU time: ") : 0;
}
