/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-filter-own, run while isolate is built: compiles the filter of one of isolate's own
 * processes and prints it as C. That process needs no libseccomp then. Takes no outside input.
 * Where nothing else is started, it is a list of what the process does, and nothing that it
 * could do. Otherwise all that it starts inherits it, sandboxes too: a list of what none of
 * them does, refused as the sandboxes' own filters refuse it. */
#include "base/buffer.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/filter_export.h"

#include <fcntl.h>
#include <seccomp.h>
#include <stdio.h>
#include <sys/mman.h>
#include <sys/socket.h>

/* AddressSanitizer's search for leaks traces its own process. */
#ifdef __has_feature
#if __has_feature(address_sanitizer)
#define SEARCHES_LEAKS 1
#endif
#elif defined(__SANITIZE_ADDRESS__)
#define SEARCHES_LEAKS 1
#endif

#define REFUSE SCMP_ACT_ERRNO(EPERM)

static int add(scmp_filter_ctx filter, uint32_t action, const char *const *calls)
{
    int r = 0;
    for (; *calls && r == 0; calls++) {
        int number = seccomp_syscall_resolve_name(*calls);
        if (number == __NR_SCMP_ERROR)
            return -ENOENT;
        r = seccomp_rule_add(filter, action, number, 0);
        if (r == -EDOM) /* of no architecture here */
            r = 0;
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

/* Memory, and its end: what each process does. */
static int allow_bare(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"brk",          "close",  "exit",   "exit_group",
                                        "madvise",      "mremap", "munmap", "restart_syscall",
                                        "rt_sigreturn", NULL};
    int r = add(filter, SCMP_ACT_ALLOW, calls);
    return r == 0 ? allow_data_only(filter) : r;
}

/* Messages and fds in and out. */
static int fill_decoder(scmp_filter_ctx filter)
{
    static const char *const calls[] = {
        "clock_gettime", "fchmod", /* of a memfd */
        "fstat",         "ftruncate",  "getsockopt", "lseek",
        "memfd_create",  "newfstatat", "poll",       "ppoll",
        "read",          "recvfrom",   "recvmsg",    "rt_sigprocmask",
        "sendmsg",       "sendto",     "write",      NULL};
    int r = allow_bare(filter);
    if (r == 0)
        r = add(filter, SCMP_ACT_ALLOW, calls);
    return r == 0 ? allow_fcntl(filter) : r;
}

/* Waits for a signal, and tells the service manager by libsystemd, of which later versions may
 * do more: what is not here is refused, and no end of it. */
static int fill_keeper(scmp_filter_ctx filter)
{
    static const char *const calls[] = {
        "connect", "getegid",         "geteuid", "getgid", "getpid",     "getsockopt",
        "getuid",  "rt_sigtimedwait", "sendmsg", "sendto", "setsockopt", NULL};
    int r = allow_bare(filter);
    if (r == 0)
        r = add(filter, SCMP_ACT_ALLOW, calls);
    return r == 0 ? seccomp_rule_add(filter, SCMP_ACT_ALLOW, SCMP_SYS(socket), 1,
                                     SCMP_A0(SCMP_CMP_MASKED_EQ, 0xFFFFFFFFU, AF_UNIX))
                  : r;
}

/* Reads what pasta says, tells isolated, waits for the end of either. */
static int fill_network(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"clock_gettime", "poll",  "ppoll", "read",
                                        "sendmsg",       "write", NULL};
    int r = allow_bare(filter);
    return r == 0 ? add(filter, SCMP_ACT_ALLOW, calls) : r;
}

/* What changes the machine, for which only its own root has the right: isolated, and all that
 * comes of it. bpf is the network's, keyctl init's, quotactl_fd the storage's. */
static int fill_machine(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"acct",          "clock_settime",  "clock_settime64",
                                        "delete_module", "finit_module",   "init_module",
                                        "ioperm",        "iopl",           "kexec_file_load",
                                        "kexec_load",    "lookup_dcookie", "nfsservctl",
                                        "reboot",        "settimeofday",   "stime",
                                        "swapoff",       "swapon",         NULL};
    return add(filter, REFUSE, calls);
}

/* Besides, of those that work on files and start no sandbox: other processes' insides, and
 * parts of the kernel in which holes are found. */
static int fill_work(scmp_filter_ctx filter)
{
    static const char *const calls[] = {"add_key",
                                        "bpf",
                                        "fanotify_init",
                                        "io_uring_enter",
                                        "io_uring_register",
                                        "io_uring_setup",
                                        "kcmp",
                                        "keyctl",
                                        "migrate_pages",
                                        "move_pages",
                                        "open_by_handle_at",
                                        "perf_event_open",
                                        "pidfd_getfd",
                                        "process_madvise",
                                        "process_vm_readv",
                                        "process_vm_writev",
#ifndef SEARCHES_LEAKS
                                        "ptrace",
#endif
                                        "request_key",
                                        "userfaultfd",
                                        "vm86",
                                        "vm86old",
                                        NULL};
    return add(filter, REFUSE, calls);
}

/* What is inherited meets programs of the other architectures that the kernel runs, too. */
static int add_architectures(scmp_filter_ctx filter)
{
#ifdef __x86_64__
    int r = seccomp_arch_add(filter, SCMP_ARCH_X86);
    return r == 0 ? seccomp_arch_add(filter, SCMP_ARCH_X32) : r;
#elif defined(__aarch64__)
    return seccomp_arch_add(filter, SCMP_ARCH_ARM);
#else
    return 0;
#endif
}

static const struct own_filter {
    const char *name;
    uint32_t otherwise; /* what becomes of calls that it does not name */
    bool inherited;
    int (*fill)(scmp_filter_ctx filter);
} own_filters[] = {
    {"decoder", SCMP_ACT_KILL_PROCESS, false, fill_decoder},
    {"keeper", REFUSE, false, fill_keeper},
    {"machine", SCMP_ACT_ALLOW, true, fill_machine},
    {"network", SCMP_ACT_KILL_PROCESS, false, fill_network},
    {"work", SCMP_ACT_ALLOW, true, fill_work},
};

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

static int compile(const struct own_filter *own)
{
    scmp_filter_ctx filter = seccomp_init(own->otherwise);
    int r = filter ? seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS)
                   : -ENOMEM;
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (r == 0 && own->inherited)
        r = add_architectures(filter);
    if (r == 0)
        r = own->fill(filter);
    if (r == 0)
        r = print(filter, own->name);
    if (filter)
        seccomp_release(filter);
    return r;
}

int main(int argc, char **argv)
{
    int r = -EINVAL;
    for (size_t i = 0; i < ELEMENTS(own_filters); i++)
        if (argc == 2 && streq(argv[1], own_filters[i].name))
            r = compile(&own_filters[i]);
    if (r < 0)
        log_error("isolate-filter-own: %s", strerror(-r));
    return r < 0;
}
