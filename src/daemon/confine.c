/* SPDX-License-Identifier: Apache-2.0 */
/* See confine.h. A process with root's other rights finds ways around most of this: it is for
 * the kernel's code that then is in nobody's reach by chance, and for whoever has taken over
 * less than all of it. Takes no outside input. */
#include "daemon/confine.h"

#include "sys/caps.h"
#include "sys/filter_load.h"

#include "keeper_filter.h"
#include "machine_filter.h"
#include "work_filter.h"

#include <linux/capability.h>
#include <sys/prctl.h>

/* Of the machine's; a sandbox has those of its own user namespace whatever these are. */
#define NEVER                                                                                  \
    (CAP_BIT(CAP_SYS_MODULE) | CAP_BIT(CAP_SYS_RAWIO) | CAP_BIT(CAP_SYS_PACCT) |               \
     CAP_BIT(CAP_SYS_BOOT) | CAP_BIT(CAP_SYS_TIME) | CAP_BIT(CAP_WAKE_ALARM) |                 \
     CAP_BIT(CAP_BLOCK_SUSPEND) | CAP_BIT(CAP_AUDIT_READ))

static int keep_capabilities(uint64_t mask)
{
    uint64_t held = 0;
    int r = caps_bound(mask);
    if (r == 0)
        r = caps_effective(&held);
    return r == 0 ? caps_set(held & mask) : r;
}

uint64_t confine_left(void)
{
    return ~NEVER;
}

int confine_machine(struct error *err)
{
    int r = keep_capabilities(confine_left());
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "isolated: give up capabilities, with CAP_SETPCAP: ")
                 : filter_load_own(filter_machine, sizeof(filter_machine), err);
}

int confine_work(struct error *err)
{
    return filter_load_own(filter_work, sizeof(filter_work), err);
}

int confine_keeper(struct error *err)
{
    int r = prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ? -errno : keep_capabilities(0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "give up capabilities: ")
                 : filter_load_own(filter_keeper, sizeof(filter_keeper), err);
}
