/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 16 (CVE-2026-31431): socket families and protocols whose code in the kernel has been
 * the way to the host's root, also with high bits in the arguments that a filter compares. */
#include "attempt.h"

#include <linux/netlink.h>
#include <sys/socket.h>

struct kind {
    const char *name;
    unsigned long family;
    unsigned long type;
    unsigned long protocol;
};

static long open_it(const void *data)
{
    const struct kind *kind = data;
    return syscall(SYS_socket, kind->family, kind->type, kind->protocol);
}

static long open_pair(const void *data)
{
    const struct kind *kind = data;
    int pair[2];
    long r = syscall(SYS_socketpair, kind->family, kind->type, kind->protocol, pair);
    /* no family but AF_UNIX, TIPC and the like can: that the kernel says so means we got there
     */
    return r < 0 && errno == EOPNOTSUPP ? 0 : r;
}

int main(void)
{
    static const struct kind kinds[] = {
        {"alg", AF_ALG, SOCK_SEQPACKET, 0},
        {"alg_high_bits", HIGH(AF_ALG), SOCK_SEQPACKET, 0},
        {"vsock", AF_VSOCK, SOCK_STREAM, 0},
        {"vsock_high_bits", HIGH(AF_VSOCK), SOCK_STREAM, 0},
        {"rxrpc", AF_RXRPC, SOCK_DGRAM, AF_INET},
        {"packet", AF_PACKET, SOCK_RAW, 0},
        {"packet_high_bits", HIGH(AF_PACKET), SOCK_RAW, 0},
        {"key", AF_KEY, SOCK_RAW, 2},
        {"tipc", AF_TIPC, SOCK_RDM, 0},
        {"can", AF_CAN, SOCK_RAW, 1},
        {"bluetooth", AF_BLUETOOTH, SOCK_RAW, 1},
        {"xdp", AF_XDP, SOCK_RAW, 0},
        {"netlink_xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM},
        {"netlink_xfrm_high_bits", AF_NETLINK, SOCK_RAW, HIGH(NETLINK_XFRM)},
        {"netlink_netfilter", AF_NETLINK, SOCK_RAW, NETLINK_NETFILTER},
        {"netlink_audit", AF_NETLINK, SOCK_RAW, NETLINK_AUDIT},
        {"netlink_uevent", AF_NETLINK, SOCK_RAW, NETLINK_KOBJECT_UEVENT},
        {"netlink_crypto", AF_NETLINK, SOCK_RAW, NETLINK_CRYPTO},
        {"sctp", AF_INET, SOCK_STREAM, 132},
        {"sctp_by_type", AF_INET6, SOCK_SEQPACKET, 0},
        {"sctp_high_bits", AF_INET, SOCK_STREAM, HIGH(132)},
        {"dccp", AF_INET, SOCK_DCCP, 0},
        {"smc", AF_INET, SOCK_STREAM, 256},
        {"l2tp", AF_INET, SOCK_DGRAM, 115},
        {"udplite", AF_INET, SOCK_DGRAM, 136},
        {"raw_ipv4", AF_INET, SOCK_RAW, 1},
        {"raw_ipv6", AF_INET6, SOCK_RAW, 58},
    };
    static const struct kind pairs[] = {
        {"pair_vsock", AF_VSOCK, SOCK_STREAM, 0},
        {"pair_netlink_xfrm", AF_NETLINK, SOCK_RAW, NETLINK_XFRM},
    };
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++)
        attempt_with(kinds[i].name, open_it, &kinds[i]);
    for (size_t i = 0; i < sizeof(pairs) / sizeof(pairs[0]); i++)
        attempt_with(pairs[i].name, open_pair, &pairs[i]);
    return 0;
}
