/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/filter_load.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/syscall.h>
#include <unistd.h>

static int load(const void *filters, size_t length, enum filter_when when, unsigned flags,
                struct error *err)
{
    const void *instructions = NULL;
    size_t size = 0;
    struct filter_walk walk = {filters, length};
    while (filter_next(&walk, when, &instructions, &size)) {
        struct sock_fprog program = {
            .len = (unsigned short)(size / sizeof(struct sock_filter)),
            .filter = (struct sock_filter *)instructions,
        };
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, flags, &program) < 0)
            return fail(err, ERROR_SYSTEM, errno, "system call filter: ");
    }
    return walk.left == 0 ? 0
                          : fail(err, ERROR_PROTOCOL, EPROTO, "system call filter: malformed");
}

int filter_load(const void *filters, size_t length, enum filter_when when, struct error *err)
{
    return load(filters, length, when, 0, err);
}

int filter_load_own(const void *filter, size_t length, struct error *err)
{
    return load(filter, length, FILTER_EARLY, SECCOMP_FILTER_FLAG_LOG, err);
}
