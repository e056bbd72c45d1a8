/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/hidden.h"

#include <stddef.h>

const char *const hidden_in_proc[] = {
    "/proc/acpi",          "/proc/asound",
    "/proc/interrupts",    "/proc/kcore",
    "/proc/keys",          "/proc/kpagecgroup",
    "/proc/kpagecount",    "/proc/kpageflags",
    "/proc/latency_stats", "/proc/sched_debug",
    "/proc/scsi",          "/proc/timer_list",
    "/proc/timer_stats",   NULL,
};

const char *const hidden_in_sys[] = {
    "/sys/devices/virtual/block", /* which files loop devices have */
    "/sys/devices/virtual/powercap",
    "/sys/firmware",
    "/sys/fs/bpf",
    "/sys/fs/selinux",
    "/sys/kernel/debug",
    "/sys/kernel/security",
    "/sys/kernel/tracing",
    NULL,
};

const char *const read_only_in_proc[] = {
    "/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger", NULL,
};
