/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the filter. Runs in isolated; takes no outside input. Refused argument values are a
 * program of their own, because a rule with arguments beside one without is merged away by
 * libseccomp, and because a filter that says no wins over one that says yes. */
#include "sys/filter.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <seccomp.h>
#include <sys/mman.h>
#include <sys/personality.h>
#include <sys/socket.h>

static void filter_releasep(scmp_filter_ctx *filter)
{
    if (*filter)
        seccomp_release(*filter);
}

/* Negative, but for __NR_SCMP_ERROR, where only another architecture has the call: then no rule
 * comes of it. */
static int call_number(const char *name, int number)
{
    int resolved = seccomp_syscall_resolve_name(name);
    return resolved == __NR_SCMP_ERROR && number > 0 ? number : resolved;
}

/* The families of sockets and, of netlink, the protocol: what else the kernel has (AF_ALG,
 * AF_VSOCK, AF_RXRPC…) is attack surface. By choice NETLINK_KOBJECT_UEVENT, too. */
static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
#define NETLINK_PROTOCOL 0 /* NETLINK_ROUTE */
#define INT_MASK         0xFFFFFFFFU

/* A strict filter has the first one only. */
static bool has_family(uint32_t family, uint32_t flags)
{
    bool found = family == families[0];
    for (size_t i = 1; i < ELEMENTS(families); i++)
        found = found || (family == families[i] && !(flags & FILTER_STRICT));
    return found || (family == AF_NETLINK && !(flags & FILTER_STRICT));
}

static int allow_sockets(scmp_filter_ctx filter, int call, uint32_t flags)
{
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(families) && r == 0; i++)
        if (has_family(families[i], flags))
            r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, families[i]));
    if (r == 0 && has_family(AF_NETLINK, flags))
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, NETLINK_PROTOCOL));
    if (r == 0 && (flags & FILTER_UEVENTS) && has_family(AF_NETLINK, flags))
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, NETLINK_KOBJECT_UEVENT));
    return r;
}

/* With another kernel's behaviour (uname, no address space randomisation) and the question, but
 * not with what makes bugs easier to use: page 0 mapped, all that is readable executable. */
static int allow_personality(scmp_filter_ctx filter, int call)
{
    static const uint32_t personalities[] = {PER_LINUX,         PER_LINUX32,
                                             UNAME26,           PER_LINUX32 | UNAME26,
                                             ADDR_NO_RANDOMIZE, PER_LINUX32 | ADDR_NO_RANDOMIZE,
                                             0xFFFFFFFFU};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(personalities) && r == 0; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ALLOW, call, 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, personalities[i]));
    return r;
}

static int fill_call(scmp_filter_ctx filter, const struct filter_call *call, uint32_t flags)
{
    int number = call_number(call->name, call->number);
    if (number == __NR_SCMP_ERROR || call->answer == FILTER_ENOSYS)
        return 0;
    if (call->answer == FILTER_EPERM ||
        (call->answer == FILTER_LOOSE && (flags & FILTER_STRICT)))
        return seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (streq(call->name, "socket") || streq(call->name, "socketpair"))
        return allow_sockets(filter, number, flags);
    if (streq(call->name, "personality"))
        return allow_personality(filter, number);
    return seccomp_rule_add(filter, SCMP_ACT_ALLOW, number, 0);
}

static int fill_allowed(scmp_filter_ctx filter, uint32_t flags)
{
    int r = 0;
    for (const struct filter_call *call = filter_calls; call->name && r == 0; call++)
        /* openat2 has its mode in memory: where modes matter, programs use openat instead */
        if (!(flags & FILTER_NO_SET_ID) || !streq(call->name, "openat2"))
            r = fill_call(filter, call, flags);
    return r;
}

/* Calls whose mode argument counts only when a file is made. */
static int refuse_open_mode(scmp_filter_ctx filter, const struct filter_value *value, int call,
                            unsigned flags_argument)
{
    static const uint32_t making[] = {O_CREAT, O_TMPFILE & ~O_DIRECTORY};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(making) && r == 0; i++)
        r = seccomp_rule_add(
            filter, SCMP_ACT_ERRNO((uint32_t)value->errnum), call, 2,
            SCMP_CMP(flags_argument, SCMP_CMP_MASKED_EQ, making[i], making[i]),
            SCMP_CMP(value->argument, SCMP_CMP_MASKED_EQ, value->mask, value->value));
    return r;
}

static int number_in_table(const char *name)
{
    const struct filter_call *call = filter_calls;
    while (call->name && !streq(call->name, name))
        call++;
    return call_number(name, call->number);
}

/* ENOSYS would say of a call that the kernel has not got it, where it is the family that it has
 * not got. */
static int refuse_families(scmp_filter_ctx filter, const char *name, uint32_t flags)
{
    int call = seccomp_syscall_resolve_name(name);
    int r = 0;
    for (uint32_t family = 0; family < AF_MAX && r == 0; family++)
        if (!has_family(family, flags))
            r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EAFNOSUPPORT), call, 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family));
    return r;
}

static int fill_refused(scmp_filter_ctx filter, uint32_t flags)
{
    int r = refuse_families(filter, "socket", flags);
    if (r == 0)
        r = refuse_families(filter, "socketpair", flags);
    for (const struct filter_value *value = filter_values; value->call && r == 0; value++) {
        int call = number_in_table(value->call);
        if (value->only_with && !(flags & value->only_with))
            continue;
        if (streq(value->call, "open") || streq(value->call, "openat"))
            r = refuse_open_mode(filter, value, call, value->argument - 1);
        else
            r = seccomp_rule_add(
                filter, SCMP_ACT_ERRNO((uint32_t)value->errnum), call, 1,
                SCMP_CMP(value->argument, SCMP_CMP_MASKED_EQ, value->mask, value->value));
    }
    return r;
}

/* Appends one compiled program with its header. */
static int append_program(scmp_filter_ctx filter, struct buffer *ret)
{
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    _cleanup_buffer_ struct buffer program = {0};
    int r = seccomp_export_bpf(filter, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    if (r == 0)
        r = fd_read_all(fd, 1U << 20, &program);
    if (r < 0)
        return r;
    uint32_t header[2] = {(uint32_t)(program.length / 8), 0};
    buffer_append(ret, header, sizeof(header));
    buffer_append(ret, program.data, program.length);
    return ret->failed ? -ENOMEM : 0;
}

static int compile(uint32_t default_action, uint32_t flags,
                   int (*fill)(scmp_filter_ctx filter, uint32_t flags), struct buffer *ret)
{
    _cleanup_(filter_releasep) scmp_filter_ctx filter = seccomp_init(default_action);
    if (!filter)
        return -ENOMEM;
    /* foreign architectures (int 0x80) and the x32 numbers end the process */
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (r == 0)
        r = fill(filter, flags);
    return r < 0 ? r : append_program(filter, ret);
}

int filter_compile(uint32_t flags, struct buffer *ret, struct error *err)
{
    int r = compile(SCMP_ACT_ERRNO(ENOSYS), flags, fill_allowed, ret);
    if (r == 0)
        r = compile(SCMP_ACT_ALLOW, flags, fill_refused, ret);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "system call filter: ") : 0;
}
