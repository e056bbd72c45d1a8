/* SPDX-License-Identifier: Apache-2.0 */
#include "client/original_lxc.h"

#include "base/parse.h"
#include "client/original.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

#define CPU_DEFAULT   20 /* percent of one processor */
#define MEMORY_SHARE  20 /* a twentieth */
#define MEMORY_MAX_MB (1U << 24)

static bool is_set(const char *name)
{
    const char *value = getenv(name);
    return value && *value;
}

/* Whether the machine's version 2 control groups can limit it. */
static bool has_controller(const char *controller)
{
    char mount[512];
    if (cgroup_find_mount(mount, sizeof(mount)) < 0)
        return false;
    _cleanup_close_ int root = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root >= 0 && cgroup_has_controller(root, controller) > 0;
}

/* 1: to be limited to *ret. */
static int read_quota(const char *variable, const char *controller, uint32_t max,
                      uint32_t by_default, uint32_t *ret, struct error *err)
{
    char text[160];
    *ret = by_default;
    if (is_set(variable)) {
        int r = parse_u32(getenv(variable), 1, max, ret, variable, err);
        return r < 0 ? r : 1;
    }
    if (has_controller(controller))
        return 1;
    (void)snprintf(text, sizeof(text),
                   "lxc: no quota of %s: this machine's cgroup v2 has no such controller; "
                   "with %s it would be refused",
                   controller, variable);
    original_warn(text);
    return 0;
}

int original_lxc_read(struct original_lxc *ret, struct error *err)
{
    uint32_t value = 0;
    uint64_t pages = (uint64_t)sysconf(_SC_PHYS_PAGES);
    uint64_t page = (uint64_t)sysconf(_SC_PAGESIZE);
    uint32_t share = (uint32_t)(pages * page / MEMORY_SHARE >> 20);
    *ret = (struct original_lxc){
        .bridge = is_set("LXC_NET_BR") ? getenv("LXC_NET_BR") : "br_vm",
        .tun = is_set("LXC_MAP_TUN"),
        .debug = is_set("DEBUG_LXC_SPAWN"),
    };
    int r = read_quota("LXC_CPU_QUOTA", "cpu", 100, CPU_DEFAULT, &value, err);
    if (r > 0)
        (void)snprintf(ret->cpus, sizeof(ret->cpus), "%u.%02u", value / 100, value % 100);
    if (r >= 0)
        r = read_quota("LXC_MEM_MB_QUOTA", "memory", MEMORY_MAX_MB, share ? share : 1, &value,
                       err);
    if (r > 0)
        (void)snprintf(ret->memory, sizeof(ret->memory), "%uM", value);
    return r < 0 ? r : 0;
}
