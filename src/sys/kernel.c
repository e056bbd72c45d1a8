/* SPDX-License-Identifier: Apache-2.0 */
/* See kernel.h. Runs in isolated as root, and in isolate-ctl as the caller. */
#include "sys/kernel.h"

#include "base/text.h"

#include <sys/syscall.h>
#include <unistd.h>

static const struct {
    const char *name;
    const char *since; /* Linux */
    long number;
    bool foreign; /* for foreign engines only */
} needed[] = {
    {"clone3", "5.3", SYS_clone3, false},
    {"close_range", "5.9", SYS_close_range, false},
    {"execveat", "3.19", SYS_execveat, false},
    {"fsconfig", "5.2", SYS_fsconfig, false},
    {"fsmount", "5.2", SYS_fsmount, false},
    {"fsopen", "5.2", SYS_fsopen, false},
    {"getrandom", "3.17", SYS_getrandom, false},
    {"memfd_create", "3.17", SYS_memfd_create, false},
    {"mount_setattr", "5.12", SYS_mount_setattr, false},
    {"move_mount", "5.2", SYS_move_mount, false},
    {"open_tree", "5.2", SYS_open_tree, false},
    {"openat2", "5.6", SYS_openat2, false},
    {"pidfd_open", "5.3", SYS_pidfd_open, true},
    {"statx", "4.11", SYS_statx, false},
};

int kernel_check_calls(bool foreign, struct error *err)
{
    for (size_t i = 0; i < ELEMENTS(needed); i++)
        /* of each of them these are flags, sizes and addresses that there are not */
        if ((foreign || !needed[i].foreign) &&
            syscall(needed[i].number, -1L, -1L, -1L, -1L, -1L, -1L) < 0 && errno == ENOSYS)
            return fail(
                err, ERROR_UNSUPPORTED, ENOSYS,
                "this kernel lacks %s: boot Linux %s or later, or allow it in the system "
                "call filter of this container or unit; see `isolate doctor`",
                needed[i].name, needed[i].since);
    return 0;
}
