/* SPDX-License-Identifier: Apache-2.0 */
/* The CPU time of all processes of the sandbox, dead ones included, as its cgroup counts it.
 * Runs in isolate-init, which got the file from isolated: its own cgroup is not mounted here.
 */
#include "init/init.h"

#include "base/parse.h"
#include "base/text.h"

#include <string.h>
#include <unistd.h>

#define LOOK_MIN_MS 10
#define LOOK_MAX_MS 60000

/* Microseconds so far. */
static int read_usage(int stat_fd, uint64_t *ret)
{
    char text[512];
    ssize_t n = pread(stat_fd, text, sizeof(text) - 1, 0);
    if (n <= 0)
        return n < 0 ? -errno : -ENODATA;
    text[n] = '\0';
    text[strcspn(text, "\n")] = '\0'; /* usage_usec comes first */
    const char *number = text_after(text, "usage_usec ");
    return number ? parse_u64(number, 0, UINT64_MAX, ret, "", NULL) : -ENODATA;
}

void cpu_clock_start(struct cpu_clock *clock, const struct start *start, int stat_fd)
{
    *clock = (struct cpu_clock){.stat_fd = -EBADF};
    if (start->cpu_time_ms == 0)
        return;
    clock->stat_fd = stat_fd;
    clock->n_cpus = start->n_cpus > 0 ? start->n_cpus : 1;
    if (read_usage(stat_fd, &clock->end_us) == 0)
        clock->end_us += start->cpu_time_ms * 1000;
}

int cpu_clock_left_ms(const struct cpu_clock *clock)
{
    uint64_t used_us = 0;
    if (clock->stat_fd < 0)
        return -1;
    if (read_usage(clock->stat_fd, &used_us) < 0 || used_us >= clock->end_us)
        return 0;
    /* it cannot be used up sooner than by all processors together */
    uint64_t ms = (clock->end_us - used_us) / 1000 / clock->n_cpus;
    return ms < LOOK_MIN_MS ? LOOK_MIN_MS : ms > LOOK_MAX_MS ? LOOK_MAX_MS : (int)ms;
}
