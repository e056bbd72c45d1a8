/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 12 (CVE-2025-52881 and older): the kernel's switches and secrets in proc and sysfs.
 * What is written is what was read before, so that a success changes nothing. The triggers are
 * only opened. */
#include "attempt.h"

#include <ftw.h>
#include <sys/stat.h>

static long rewrite(const void *data)
{
    char value[4096];
    int in = open(data, O_RDONLY | O_CLOEXEC);
    if (in < 0)
        return -1;
    ssize_t n = read(in, value, sizeof(value));
    int out = open(data, O_WRONLY | O_CLOEXEC);
    if (n < 0 || out < 0)
        return -1;
    return write(out, value, (size_t)n);
}

static long open_for_write(const void *data)
{
    return open_and_close(data, O_WRONLY);
}

static long read_it(const void *data)
{
    return read_something(data);
}

static int n_writable;

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)ftw;
    if (type == FTW_F && (st->st_mode & 0222) && open_and_close(path, O_WRONLY) == 0) {
        (void)fprintf(stderr, "writable: %s\n", path);
        n_writable++;
    }
    return 0;
}

static long sweep(const void *data)
{
    n_writable = 0;
    (void)nftw(data, on_entry, 32, FTW_PHYS | FTW_MOUNT);
    return n_writable > 0 ? 0 : fail_with(EROFS);
}

static int n_found;

static int on_content(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    (void)path;
    n_found += ftw->level > 0 && (type == FTW_F || type == FTW_D);
    return n_found > 0;
}

static long list(const void *data)
{
    n_found = 0;
    if (access(data, F_OK) < 0)
        return -1;
    (void)nftw(data, on_content, 32, FTW_PHYS);
    return n_found > 0 ? 0 : fail_with(ENODATA);
}

int main(void)
{
    static const struct {
        const char *name;
        long (*attack)(const void *data);
        const char *path;
    } attacks[] = {
        {"write_core_pattern", rewrite, "/proc/sys/kernel/core_pattern"},
        {"write_hostname", rewrite, "/proc/sys/kernel/hostname"},
        {"write_modprobe", rewrite, "/proc/sys/kernel/modprobe"},
        {"write_hotplug", rewrite, "/sys/kernel/uevent_helper"},
        {"write_binfmt", open_for_write, "/proc/sys/fs/binfmt_misc/register"},
        {"write_ip_forward", rewrite, "/proc/sys/net/ipv4/ip_forward"},
        {"write_ns_last_pid", open_for_write, "/proc/sys/kernel/ns_last_pid"},
        {"write_sysrq_trigger", open_for_write, "/proc/sysrq-trigger"},
        {"write_irq_affinity", rewrite, "/proc/irq/default_smp_affinity"},
        {"sweep_proc_sys", sweep, "/proc/sys"},
        {"sweep_sys", sweep, "/sys"},
        {"read_kcore", read_it, "/proc/kcore"},
        {"read_keys", read_it, "/proc/keys"},
        {"read_timer_list", read_it, "/proc/timer_list"},
        {"read_kmsg", read_it, "/proc/kmsg"},
        {"read_kpageflags", read_it, "/proc/kpageflags"},
        {"read_kpagecount", read_it, "/proc/kpagecount"},
        {"read_sched_debug", read_it, "/proc/sched_debug"},
        {"read_interrupts", read_it, "/proc/interrupts"},
        {"read_kallsyms_debug", list, "/sys/kernel/debug"},
        {"read_tracing", list, "/sys/kernel/tracing"},
        {"read_security", list, "/sys/kernel/security"},
        {"read_firmware", list, "/sys/firmware"},
        {"read_virtual_disks", list, "/sys/devices/virtual/block"},
        {"read_acpi", list, "/proc/acpi"},
        {"read_scsi", list, "/proc/scsi"},
        {"read_asound", list, "/proc/asound"},
    };
    for (size_t i = 0; i < sizeof(attacks) / sizeof(attacks[0]); i++)
        attempt_with(attacks[i].name, attacks[i].attack, attacks[i].path);
    return 0;
}
