/* SPDX-License-Identifier: Apache-2.0 */
/* A pair of veth interfaces: one end on a bridge of the machine's, the other in the sandbox,
 * which takes both away with its network namespace. Runs as root in the machine's network; the
 * names and addresses have been checked. By rtnetlink itself: these are five messages, and a
 * library would have to be linked with musl. Source: rtnetlink(7),
 * include/uapi/linux/{if_link,veth}.h.
 */
#include "network/network.h"

#include "base/text.h"
#include "sys/fd.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <linux/if_link.h>
#include <linux/rtnetlink.h>
#include <linux/veth.h>
#include <net/if.h>
#include <sched.h>
#include <stddef.h>
#include <stdio.h>
#include <sys/socket.h>
#include <unistd.h>

#define MESSAGE_MAX 1024
#define TRIES       16     /* of a name by chance */
#define INSIDE      "eth0" /* what it is called in the sandbox */

struct request {
    _Alignas(NLMSG_ALIGNTO) char bytes[MESSAGE_MAX];
    size_t length;
};

/* Appends; what does not fit shows in the length. */
static void *append(struct request *request, const void *data, size_t length)
{
    size_t at = request->length;
    request->length += NLMSG_ALIGN(length);
    if (request->length > MESSAGE_MAX)
        return NULL;
    if (data)
        memcpy(request->bytes + at, data, length);
    return request->bytes + at;
}

static void begin(struct request *request, uint16_t type, uint16_t flags, const void *body,
                  size_t length)
{
    const struct nlmsghdr header = {.nlmsg_type = type,
                                    .nlmsg_flags = NLM_F_REQUEST | NLM_F_ACK | flags};
    *request = (struct request){0};
    (void)append(request, &header, sizeof(header));
    (void)append(request, body, length);
}

static void attribute(struct request *request, uint16_t type, const void *data, size_t length)
{
    const struct rtattr header = {.rta_type = type, .rta_len = (uint16_t)RTA_LENGTH(length)};
    (void)append(request, &header, sizeof(header));
    (void)append(request, data, length);
}

/* An attribute that holds others: its place, for nest_end. */
static size_t nest(struct request *request, uint16_t type)
{
    size_t at = request->length;
    attribute(request, type, NULL, 0);
    return at;
}

static void nest_end(struct request *request, size_t at)
{
    if (request->length <= MESSAGE_MAX)
        ((struct rtattr *)(void *)(request->bytes + at))->rta_len =
            (uint16_t)(request->length - at);
}

/* Sends it and waits for the kernel's word, which comes at once; answer may be NULL. */
static int talk(struct request *request, char *answer, size_t size)
{
    char ignored[4096];
    struct nlmsghdr *reply = (void *)(answer ? answer : ignored);
    if (request->length > MESSAGE_MAX)
        return -E2BIG;
    ((struct nlmsghdr *)(void *)request->bytes)->nlmsg_len = (uint32_t)request->length;
    _cleanup_close_ int fd = socket(AF_NETLINK, SOCK_RAW | SOCK_CLOEXEC, NETLINK_ROUTE);
    if (fd < 0 || send(fd, request->bytes, request->length, 0) < 0)
        return -errno;
    ssize_t n = recv(fd, reply, answer ? size : sizeof(ignored), 0);
    if (n < (ssize_t)sizeof(*reply))
        return n < 0 ? -errno : -EPROTO;
    if (reply->nlmsg_type != NLMSG_ERROR)
        return answer ? (int)n : -EPROTO;
    return n < (ssize_t)NLMSG_LENGTH(sizeof(struct nlmsgerr))
               ? -EPROTO
               : ((struct nlmsgerr *)NLMSG_DATA(reply))->error;
}

static const struct rtattr *find(const void *first, ssize_t length, uint16_t type)
{
    for (const struct rtattr *at = first; RTA_OK(at, length); at = RTA_NEXT(at, length))
        if ((at->rta_type & NLA_TYPE_MASK) == type)
            return at;
    return NULL;
}

/* Whether what the kernel told of a link says that it is a bridge. */
static bool is_bridge(const char *answer, int length)
{
    const struct nlmsghdr *header = (const void *)answer;
    const struct ifinfomsg *link = NLMSG_DATA(header);
    if (length < (int)NLMSG_LENGTH(sizeof(*link)) || header->nlmsg_len > (uint32_t)length)
        return false;
    const struct rtattr *info =
        find(IFLA_RTA(link), (ssize_t)IFLA_PAYLOAD(header), IFLA_LINKINFO);
    if (!info)
        return false;
    const struct rtattr *kind =
        find(RTA_DATA(info), (ssize_t)RTA_PAYLOAD(info), IFLA_INFO_KIND);
    return kind && RTA_PAYLOAD(kind) >= sizeof("bridge") && streq(RTA_DATA(kind), "bridge");
}

/* Its index. */
static int find_bridge(const char *name, unsigned *ret, struct error *err)
{
    _Alignas(NLMSG_ALIGNTO) char answer[16384] = {0};
    struct request request;
    const struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
    begin(&request, RTM_GETLINK, 0, &body, sizeof(body));
    attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
    int n = talk(&request, answer, sizeof(answer));
    if (n == -ENODEV)
        return fail(
            err, ERROR_NOT_FOUND, ENODEV,
            "network: the machine has no bridge %s; make it: ip link add %s type bridge", name,
            name);
    if (n < 0)
        return fail(err, ERROR_SYSTEM, n, "network: bridge %s: ", name);
    if (!is_bridge(answer, n))
        return fail(err, ERROR_INVALID, ENODEV, "network: %s is no bridge of this machine",
                    name);
    *ret = (unsigned)((struct ifinfomsg *)NLMSG_DATA((struct nlmsghdr *)(void *)answer))
               ->ifi_index;
    return 0;
}

/* One message makes both ends, each in its place. */
static int make_pair(const char *name, unsigned bridge, int net_fd)
{
    static const char inside[] = INSIDE;
    struct request request;
    const struct ifinfomsg body = {.ifi_family = AF_UNSPEC};
    begin(&request, RTM_NEWLINK, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    attribute(&request, IFLA_IFNAME, name, strlen(name) + 1);
    attribute(&request, IFLA_MASTER, &bridge, sizeof(bridge));
    size_t info = nest(&request, IFLA_LINKINFO);
    attribute(&request, IFLA_INFO_KIND, "veth", sizeof("veth"));
    size_t data = nest(&request, IFLA_INFO_DATA);
    size_t peer = nest(&request, VETH_INFO_PEER);
    (void)append(&request, &body, sizeof(body));
    attribute(&request, IFLA_IFNAME, inside, sizeof(inside));
    attribute(&request, IFLA_NET_NS_FD, &net_fd, sizeof(net_fd));
    nest_end(&request, peer);
    nest_end(&request, data);
    nest_end(&request, info);
    return talk(&request, NULL, 0);
}

/* An end cannot be up before there are both. */
static int bring_up(unsigned index)
{
    struct request request;
    const struct ifinfomsg body = {.ifi_family = AF_UNSPEC,
                                   .ifi_index = (int)index,
                                   .ifi_flags = IFF_UP,
                                   .ifi_change = IFF_UP};
    begin(&request, RTM_NEWLINK, 0, &body, sizeof(body));
    return index == 0 ? -ENODEV : talk(&request, NULL, 0);
}

/* An address as bytes: its family, 0 where it is none. */
static int address_of(const char *text, unsigned char ret[static 16], size_t *ret_length)
{
    int family = inet_pton(AF_INET, text, ret) == 1    ? AF_INET
                 : inet_pton(AF_INET6, text, ret) == 1 ? AF_INET6
                                                       : 0;
    *ret_length = family == AF_INET ? 4 : 16;
    return family;
}

static int add_address(const struct network_order *order, unsigned index)
{
    struct request request;
    unsigned char address[16];
    size_t length = 0;
    const struct ifaddrmsg body = {
        .ifa_family = (unsigned char)address_of(order->address, address, &length),
        .ifa_prefixlen = (unsigned char)order->prefix,
        .ifa_flags = IFA_F_NODAD,
        .ifa_index = index,
    };
    begin(&request, RTM_NEWADDR, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    attribute(&request, IFA_LOCAL, address, length);
    attribute(&request, IFA_ADDRESS, address, length);
    return talk(&request, NULL, 0);
}

static int add_gateway(const struct network_order *order, unsigned index)
{
    struct request request;
    unsigned char address[16];
    size_t length = 0;
    const struct rtmsg body = {
        .rtm_family = (unsigned char)address_of(order->gateway, address, &length),
        .rtm_table = RT_TABLE_MAIN,
        .rtm_protocol = RTPROT_STATIC,
        .rtm_scope = RT_SCOPE_UNIVERSE,
        .rtm_type = RTN_UNICAST,
    };
    begin(&request, RTM_NEWROUTE, NLM_F_CREATE | NLM_F_EXCL, &body, sizeof(body));
    attribute(&request, RTA_GATEWAY, address, length);
    attribute(&request, RTA_OIF, &index, sizeof(index));
    return talk(&request, NULL, 0);
}

/* In the sandbox's network namespace, for good: nothing else is to be done in the machine's. */
static int configure(const struct network_order *order, int net_fd, struct error *err)
{
    if (setns(net_fd, CLONE_NEWNET) < 0)
        return fail(err, ERROR_SYSTEM, errno, "network: the sandbox's namespace: ");
    unsigned index = if_nametoindex(INSIDE);
    int r = bring_up(index);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "network: " INSIDE " of the sandbox: ");
    r = *order->address ? add_address(order, index) : 0;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "network: address %s/%u: ", order->address,
                    order->prefix);
    r = *order->gateway ? add_gateway(order, index) : 0;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "network: gateway %s: ", order->gateway) : 0;
}

int bridge_connect(const struct network_order *order, int net_fd, struct error *err)
{
    unsigned bridge = 0;
    char name[IF_NAMESIZE];
    int r = find_bridge(order->bridge, &bridge, err);
    if (r < 0)
        return r;
    r = -EEXIST;
    for (int tries = 0; r == -EEXIST && tries < TRIES; tries++) {
        uint32_t chance = 0;
        random_fill(&chance, sizeof(chance));
        (void)snprintf(name, sizeof(name), "isol%08x", chance);
        r = make_pair(name, bridge, net_fd);
    }
    if (r == 0)
        r = bring_up(if_nametoindex(name));
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "network: an interface on bridge %s: ", order->bridge);
    return configure(order, net_fd, err);
}
