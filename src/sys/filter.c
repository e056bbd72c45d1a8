/* SPDX-License-Identifier: Apache-2.0 */
/* Compiles the filter. Runs in isolated; takes no outside input. Refused argument values are a
 * program of their own, because a rule with arguments beside one without is merged away by
 * libseccomp, and because a filter that says no wins over one that says yes. */
#include "sys/filter.h"
#include "sys/filter_export.h"

#include "base/text.h"

#include <fcntl.h>
#include <linux/netlink.h>
#include <netinet/in.h>
#include <seccomp.h>
#include <sys/personality.h>
#include <sys/socket.h>

static void filter_releasep(scmp_filter_ctx *filter)
{
    if (*filter)
        seccomp_release(*filter);
}

/* A filter that is made, for one architecture. */
struct making {
    scmp_filter_ctx filter;
    uint32_t flags; /* FILTER_* */
    bool i386;
};

/* Rules are added by the native number, whichever architecture they are for. It is negative,
 * but for __NR_SCMP_ERROR, where only another architecture has the call: then no rule comes of
 * it. What libseccomp does not know it cannot translate, so that i386 has none of these. */
static int call_number(const struct making *making, const char *name, int number)
{
    int resolved = seccomp_syscall_resolve_name(name);
    return resolved == __NR_SCMP_ERROR && number > 0 && !making->i386 ? number : resolved;
}

/* The families of sockets and, of netlink, the protocol: what else the kernel has (AF_ALG,
 * AF_VSOCK, AF_RXRPC…) is attack surface. By choice NETLINK_KOBJECT_UEVENT, too. */
static const uint32_t families[] = {AF_UNIX, AF_INET, AF_INET6};
#define NETLINK_PROTOCOL  0  /* NETLINK_ROUTE */
#define NETLINK_PROTOCOLS 32 /* MAX_LINKS of the kernel */
#define INT_MASK          0xFFFFFFFFU

/* A strict filter has the first one only. */
static bool has_family(uint32_t family, uint32_t flags)
{
    bool found = family == families[0];
    for (size_t i = 1; i < ELEMENTS(families); i++)
        found = found || (family == families[i] && !(flags & FILTER_STRICT));
    return found || (family == AF_NETLINK && !(flags & FILTER_STRICT));
}

static bool has_protocol(uint32_t protocol, uint32_t flags)
{
    return protocol == NETLINK_PROTOCOL ||
           (protocol == NETLINK_KOBJECT_UEVENT && (flags & FILTER_UEVENTS));
}

/* Of AF_INET and AF_INET6, too, the kernel has more than is asked for here: SCTP, DCCP, SMC,
 * L2TP and what modules bring. Raw sockets, of any protocol, are for who has NET_RAW. */
static const uint32_t inet_protocols[] = {
    0, IPPROTO_TCP, IPPROTO_UDP, IPPROTO_ICMP, IPPROTO_ICMPV6, IPPROTO_MPTCP};
static const uint32_t inet_refused[] = {IPPROTO_DCCP, IPPROTO_SCTP, IPPROTO_UDPLITE,
                                        115 /* L2TP */, 256 /* SMC */};
#define TYPE_MASK 0xFU /* without SOCK_CLOEXEC and SOCK_NONBLOCK */

static bool is_inet(uint32_t family)
{
    return family == AF_INET || family == AF_INET6;
}

static int add_inet(const struct making *making, uint32_t action, int call, uint32_t family,
                    uint32_t type, uint32_t protocol)
{
    return seccomp_rule_add(making->filter, action, call, 3,
                            SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family),
                            SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, type),
                            SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, protocol));
}

static int allow_inet(const struct making *making, int call, uint32_t family)
{
    int r = seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family),
                             SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, SOCK_RAW));
    for (size_t i = 0; i < ELEMENTS(inet_protocols) && r == 0; i++)
        r = add_inet(making, SCMP_ACT_ALLOW, call, family, SOCK_STREAM, inet_protocols[i]);
    for (size_t i = 0; i < ELEMENTS(inet_protocols) && r == 0; i++)
        r = add_inet(making, SCMP_ACT_ALLOW, call, family, SOCK_DGRAM, inet_protocols[i]);
    return r;
}

/* Programs that ask for one of these go on with TCP where the kernel says that it has not got
 * it. What is neither allowed nor here is ENOSYS; of i386, where all else is allowed, no other
 * type, and no protocol that the kernel had to load a module for. */
static int refuse_inet(const struct making *making, int call, uint32_t family)
{
    int r = 0;
    for (uint32_t type = 0; type <= TYPE_MASK && r == 0; type++)
        if (type != SOCK_STREAM && type != SOCK_DGRAM && type != SOCK_RAW)
            r = seccomp_rule_add(making->filter, SCMP_ACT_ERRNO(ESOCKTNOSUPPORT), call, 2,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family),
                                 SCMP_A1(SCMP_CMP_MASKED_EQ, TYPE_MASK, type));
    for (size_t i = 0; i < ELEMENTS(inet_refused) && r == 0; i++)
        r = add_inet(making, SCMP_ACT_ERRNO(EPROTONOSUPPORT), call, family, SOCK_STREAM,
                     inet_refused[i]);
    for (size_t i = 0; i < ELEMENTS(inet_refused) && r == 0; i++)
        r = add_inet(making, SCMP_ACT_ERRNO(EPROTONOSUPPORT), call, family, SOCK_DGRAM,
                     inet_refused[i]);
    return r;
}

/* Of i386 all are allowed here and refused below: libseccomp asks the multiplexer socketcall,
 * too, whose arguments lie in memory. */
static int allow_sockets(const struct making *making, int call)
{
    if (making->i386)
        return seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 0);
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(families) && r == 0; i++)
        if (has_family(families[i], making->flags))
            r = is_inet(families[i])
                    ? allow_inet(making, call, families[i])
                    : seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 1,
                                       SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, families[i]));
    if (r == 0 && has_family(AF_NETLINK, making->flags))
        r = seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, NETLINK_PROTOCOL));
    if (r == 0 && (making->flags & FILTER_UEVENTS) && has_family(AF_NETLINK, making->flags))
        r = seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 2,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, AF_NETLINK),
                             SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, NETLINK_KOBJECT_UEVENT));
    return r;
}

/* With another kernel's behaviour (uname, no address space randomisation) and the question, but
 * not with what makes bugs easier to use: page 0 mapped, all that is readable executable. */
static int allow_personality(const struct making *making, int call)
{
    static const uint32_t personalities[] = {PER_LINUX,         PER_LINUX32,
                                             UNAME26,           PER_LINUX32 | UNAME26,
                                             ADDR_NO_RANDOMIZE, PER_LINUX32 | ADDR_NO_RANDOMIZE,
                                             0xFFFFFFFFU};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(personalities) && r == 0; i++)
        r = seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, call, 1,
                             SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, personalities[i]));
    return r;
}

enum filter_answer filter_answer(const struct filter_call *call, uint32_t flags)
{
    switch (call->answer) {
    case FILTER_LOOSE:
        return flags & FILTER_STRICT ? FILTER_EPERM : FILTER_ALLOW;
    case FILTER_LEGACY:
        return flags & FILTER_32BIT ? FILTER_ALLOW : FILTER_ENOSYS;
    case FILTER_NEST:
        return flags & FILTER_NESTED ? FILTER_ALLOW : FILTER_EPERM;
    case FILTER_NEST_NEW:
        return flags & FILTER_NESTED ? FILTER_ALLOW : FILTER_ENOSYS;
    case FILTER_ALLOW:
    case FILTER_EPERM:
    case FILTER_ENOSYS:
        break;
    }
    return call->answer;
}

static int fill_call(const struct making *making, const struct filter_call *call)
{
    int number = call_number(making, call->name, call->number);
    enum filter_answer answer = filter_answer(call, making->flags);
    if (number == __NR_SCMP_ERROR || answer == FILTER_ENOSYS)
        return 0;
    if (answer == FILTER_EPERM)
        return seccomp_rule_add(making->filter, SCMP_ACT_ERRNO(EPERM), number, 0);
    if (streq(call->name, "socket") || streq(call->name, "socketpair"))
        return allow_sockets(making, number);
    if (streq(call->name, "personality"))
        return allow_personality(making, number);
    return seccomp_rule_add(making->filter, SCMP_ACT_ALLOW, number, 0);
}

static int fill_allowed(const struct making *making)
{
    int r = 0;
    for (const struct filter_call *call = filter_calls; call->name && r == 0; call++)
        /* openat2 has its mode in memory: where modes matter, programs use openat instead */
        if (!(making->flags & FILTER_NO_SET_ID) || !streq(call->name, "openat2"))
            r = fill_call(making, call);
    return r;
}

/* Calls whose mode argument counts only when a file is made. */
static int refuse_open_mode(const struct making *making, const struct filter_value *value,
                            int call, unsigned flags_argument)
{
    static const uint32_t creating[] = {O_CREAT, O_TMPFILE & ~O_DIRECTORY};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(creating) && r == 0; i++)
        r = seccomp_rule_add(
            making->filter, SCMP_ACT_ERRNO((uint32_t)value->errnum), call, 2,
            SCMP_CMP(flags_argument, SCMP_CMP_MASKED_EQ, creating[i], creating[i]),
            SCMP_CMP(value->argument, SCMP_CMP_MASKED_EQ, value->mask, value->value));
    return r;
}

static int number_in_table(const struct making *making, const char *name)
{
    const struct filter_call *call = filter_calls;
    while (call->name && !streq(call->name, name))
        call++;
    return call_number(making, name, call->number);
}

/* ENOSYS would say of a call that the kernel has not got it, where it is the family that it has
 * not got. Of socketcall, libseccomp refuses what makes a socket with each of these rules, of
 * whichever family. */
static int refuse_families(const struct making *making, const char *name)
{
    const uint32_t refused = SCMP_ACT_ERRNO(EAFNOSUPPORT);
    int call = seccomp_syscall_resolve_name(name);
    int r = 0;
    for (uint32_t family = 0; family < AF_MAX && r == 0; family++)
        if (!has_family(family, making->flags))
            r = seccomp_rule_add(making->filter, refused, call, 1,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, family));
        else if (is_inet(family))
            r = refuse_inet(making, call, family);
    /* groupadd and useradd go on without an audit socket only where it is this */
    for (uint32_t protocol = 0; protocol < NETLINK_PROTOCOLS && r == 0 && !making->i386;
         protocol++)
        if (!has_protocol(protocol, making->flags) && has_family(AF_NETLINK, making->flags))
            r = seccomp_rule_add(making->filter, SCMP_ACT_ERRNO(EPROTONOSUPPORT), call, 2,
                                 SCMP_A0(SCMP_CMP_MASKED_EQ, INT_MASK, AF_NETLINK),
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, INT_MASK, protocol));
    if (r < 0 || !making->i386)
        return r;
    /* its arguments have no high bits */
    r = seccomp_rule_add(making->filter, refused, call, 1, SCMP_A0(SCMP_CMP_GE, AF_MAX, 0));
    return r < 0 ? r
                 : seccomp_rule_add(making->filter, refused, call, 2,
                                    SCMP_A0(SCMP_CMP_EQ, AF_NETLINK, 0),
                                    SCMP_A2(SCMP_CMP_NE, NETLINK_PROTOCOL, 0));
}

static int refuse_value(const struct making *making, const struct filter_value *value)
{
    int call = number_in_table(making, value->call);
    uint32_t flags = making->flags | (making->flags & FILTER_NESTED ? 0 : FILTER_CONTAINED);
    if (call == __NR_SCMP_ERROR || (flags & value->only_with) != value->only_with)
        return 0;
    if (streq(value->call, "open") || streq(value->call, "openat"))
        return refuse_open_mode(making, value, call, value->argument - 1);
    return seccomp_rule_add(
        making->filter, SCMP_ACT_ERRNO((uint32_t)value->errnum), call, value->mask ? 1 : 0,
        SCMP_CMP(value->argument, SCMP_CMP_MASKED_EQ, value->mask, value->value));
}

static int fill_refused(const struct making *making)
{
    bool own = making->flags & FILTER_PROFILE; /* which families is the profile's to say */
    int r = own ? 0 : refuse_families(making, "socket");
    if (r == 0 && !own)
        r = refuse_families(making, "socketpair");
    for (const struct filter_value *value = filter_values; value->call && r == 0; value++)
        r = refuse_value(making, value);
    return r;
}

typedef int filler(const struct making *making);

static int make(uint32_t default_action, uint32_t flags, bool i386, filler *fill,
                scmp_filter_ctx *ret)
{
    scmp_filter_ctx filter = *ret = seccomp_init(default_action);
    const struct making making = {filter, flags, i386};
    if (!filter)
        return -ENOMEM;
    /* foreign architectures (int 0x80) and the x32 numbers end the process */
    int r = seccomp_attr_set(filter, SCMP_FLTATR_ACT_BADARCH, SCMP_ACT_KILL_PROCESS);
    if (r == 0)
        r = seccomp_attr_set(filter, SCMP_FLTATR_CTL_OPTIMIZE, 2); /* a binary tree */
    if (r == 0 && i386)
        r = seccomp_arch_remove(filter, SCMP_ARCH_NATIVE);
    if (r == 0 && i386)
        r = seccomp_arch_add(filter, SCMP_ARCH_X86);
    return r < 0 ? r : fill(&making);
}

static int compile(uint32_t default_action, uint32_t flags, filler *fill, struct buffer *ret)
{
    _cleanup_(filter_releasep) scmp_filter_ctx filter = NULL;
    _cleanup_(filter_releasep) scmp_filter_ctx other = NULL;
    int r = make(default_action, flags, false, fill, &filter);
    if (r == 0 && (flags & FILTER_32BIT)) {
        r = make(default_action, flags, true, fill, &other);
        if (r == 0)
            r = seccomp_merge(filter, other);
        if (r == 0)
            other = NULL; /* it is part of the first one */
    }
    return r < 0 ? r : filter_export_program(filter, ret);
}

/* Whether a call has rules that libseccomp cannot make for i386, because it does not know the
 * call; the kernel gives new ones the same number everywhere. */
static bool is_unknown(const struct filter_call *call, uint32_t flags)
{
    const struct filter_value *value = filter_values;
    if (call->number <= 0 || seccomp_syscall_resolve_name(call->name) != __NR_SCMP_ERROR)
        return false;
    while (value->call &&
           (!streq(value->call, call->name) || (flags & value->only_with) != value->only_with))
        value++;
    return value->call != NULL;
}

/* An allow-list does without such calls. A profile may not: they are ENOSYS, as of an older
 * kernel. */
static int refuse_unknown(uint32_t flags, struct buffer *ret)
{
    uint32_t numbers[FILTER_NUMBERS_MAX];
    size_t n = 0;
    for (const struct filter_call *call = filter_calls; call->name; call++) {
        if (!is_unknown(call, flags))
            continue;
        if (n == FILTER_NUMBERS_MAX)
            return -E2BIG;
        numbers[n++] = (uint32_t)call->number;
    }
    return n == 0 ? 0 : filter_refuse_i386(numbers, n, ret);
}

int filter_compile(uint32_t flags, struct buffer *ret, struct error *err)
{
    if ((flags & FILTER_32BIT) && !FILTER_HAS_32BIT)
        flags &= ~FILTER_32BIT; /* nobody can ask for it */
    int r =
        flags & FILTER_PROFILE ? 0 : compile(SCMP_ACT_ERRNO(ENOSYS), flags, fill_allowed, ret);
    if (r == 0)
        r = compile(SCMP_ACT_ALLOW, flags, fill_refused, ret);
    if (r == 0 && (flags & FILTER_PROFILE) && (flags & FILTER_32BIT))
        r = refuse_unknown(flags, ret);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "system call filter: ") : 0;
}
