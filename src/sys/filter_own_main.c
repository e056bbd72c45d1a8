/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-filter-own, run while isolate is built: compiles the filter of one of isolate's own
 * processes and prints it as C. That process needs no libseccomp then. Takes no outside input.
 * Each is what the process does, and nothing that it could do. */
#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/filter_export.h"

#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>

static int add(scmp_filter_ctx filter, uint32_t action, const char *const *calls)
{
    int r = 0;
    for (; *calls && r == 0; calls++) {
        int number = seccomp_syscall_resolve_name(*calls);
        if (number >= 0) /* else this architecture has no such call */
            r = seccomp_rule_add(filter, action, number, 0);
    }
    return r;
}

/* What maps memory that can be executed makes code of what was received. */
static int allow_data_only(scmp_filter_ctx filter)
{
    static const int calls[] = {SCMP_SYS(mmap), SCMP_SYS(mprotect)};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(calls) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, calls[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, 0));
    return r;
}

static int allow_fcntl(scmp_filter_ctx filter)
{
    static const uint32_t commands[] = {F_GETFL,         F_SETFL,     F_GETFD,    F_SETFD,
                                        F_DUPFD_CLOEXEC, F_ADD_SEALS, F_GET_SEALS};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(commands) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(fcntl), 1,
                             SCMP_A1(SCMP_CMP_MASKED_EQ, 0xFFFFFFFFU, commands[i]));
    return r;
}

/* Messages and fds in and out, memory, its end. */
static int fill_decoder(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"brk",
                                        "clock_gettime",
                                        "close",
                                        "exit",
                                        "exit_group",
                                        "fchmod", /* of a memfd */
                                        "fstat",
                                        "ftruncate",
                                        "getsockopt",
                                        "lseek",
                                        "madvise",
                                        "memfd_create",
                                        "mremap",
                                        "munmap",
                                        "newfstatat",
                                        "poll",
                                        "ppoll",
                                        "read",
                                        "recvfrom",
                                        "recvmsg",
                                        "restart_syscall",
                                        "rt_sigprocmask",
                                        "rt_sigreturn",
                                        "sendmsg",
                                        "sendto",
                                        "write",
                                        NULL};
    int r = add(filter, SCMP_ACT_ALLOW, calls);
    if (r == 0)
        r = allow_data_only(filter);
    return r == 0 ? allow_fcntl(filter) : r;
}

static int print(scmp_filter_ctx filter, const char *name)
{
    _cleanup_buffer_ struct buffer all = {0};
    int r = filter_export_program(filter, &all);
    if (r < 0)
        return r;
    if (!all.data)
        return -ENOMEM;
    (void)printf("/* made by isolate-filter-own */\nstatic const unsigned char filter_%s[] = {",
                 name);
    for (size_t i = 0; i < all.length; i++)
        (void)printf("%s0x%02x,", i % 16 ? "" : "\n    ", (unsigned char)all.data[i]);
    (void)printf("\n};\n");
    return fflush(stdout) == 0 ? 0 : -EIO;
}

int main(int argc, char **argv)
{
    bool decoder = argc == 2 && streq(argv[1], "decoder");
    scmp_filter_ctx filter = decoder ? seccomp_init(SCMP_ACT_KILL_PROCESS) : NULL;
    int r = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)
                   : -EINVAL;
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (r == 0)
        r = fill_decoder(filter);
    if (r == 0)
        r = print(filter, argv[1]);
    if (filter)
        seccomp_release(filter);
    if (r < 0)
        log_error("isolate-filter-own: %s", strerror(-r));
    return r < 0;
}
