/* SPDX-License-Identifier: Apache-2.0 */
/* See network.h. Pure; runs in isolated on what a caller wrote. */
#include "spec/network.h"

#include "base/text.h"

#include <arpa/inet.h>
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>

#define HOST_LOOPBACK "nat,host-loopback"

/* One number from 1 to 65535 at *at, which moves behind it; 0 where there is none. */
static uint16_t take_number(const char **at)
{
    unsigned value = 0;
    const char *p = *at;
    for (; *p >= '0' && *p <= '9' && value <= UINT16_MAX; p++)
        value = value * 10 + (unsigned)(*p - '0');
    if (p == *at || **at == '0' || value > UINT16_MAX)
        return 0;
    *at = p;
    return (uint16_t)value;
}

/* As the kernel has them, and none that a shell or a path would make something of. */
static bool take_bridge(const char *name, size_t n, struct network *ret)
{
    static const char letters[] =
        "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-";
    if (n == 0 || n >= sizeof(ret->bridge) || *name == '.' || *name == '-' ||
        strspn(name, letters) < n)
        return false;
    (void)snprintf(ret->bridge, sizeof(ret->bridge), "%.*s", (int)n, name);
    return true;
}

/* The address of `n` letters in the one way of writing it: its family, or 0. */
static int take_plain(const char *text, size_t n, char ret[static NETWORK_ADDRESS_SIZE])
{
    struct in6_addr address;
    char copy[NETWORK_ADDRESS_SIZE];
    if (n >= sizeof(copy))
        return 0;
    (void)snprintf(copy, sizeof(copy), "%.*s", (int)n, text);
    int family = strchr(copy, ':') ? AF_INET6 : AF_INET;
    return inet_pton(family, copy, &address) == 1 &&
                   inet_ntop(family, &address, ret, NETWORK_ADDRESS_SIZE)
               ? family
               : 0;
}

/* What stands behind "bridge=". */
static bool parse_bridge(const char *text, struct network *ret)
{
    size_t n = strcspn(text, ",");
    if (!take_bridge(text, n, ret))
        return false;
    ret->mode = NETWORK_BRIDGE;
    if (text[n] == '\0')
        return true;
    const char *address = text_after(text + n, ",address=");
    size_t slash = address ? strcspn(address, "/,") : 0;
    int family = address ? take_plain(address, slash, ret->address) : 0;
    if (family == 0 || address[slash] != '/')
        return false;
    const char *rest = address + slash + 1;
    ret->prefix = take_number(&rest);
    if (ret->prefix == 0 || ret->prefix > (family == AF_INET ? 32 : 128))
        return false;
    const char *gateway = text_after(rest, ",gateway=");
    return *rest == '\0' ||
           (gateway && take_plain(gateway, strlen(gateway), ret->gateway) == family);
}

int network_parse_mode(const char *text, struct network *ret, struct error *err)
{
    static const struct {
        const char *name;
        enum network_mode mode;
    } modes[] = {
        {"none", NETWORK_NONE},
        {"host", NETWORK_HOST},
        {"nat", NETWORK_NAT},
        {HOST_LOOPBACK, NETWORK_NAT},
    };
    for (size_t i = 0; i < ELEMENTS(modes); i++) {
        if (!streq(text, modes[i].name))
            continue;
        ret->mode = modes[i].mode;
        ret->host_loopback = streq(text, HOST_LOOPBACK);
        return 0;
    }
    if (text_after(text, "bridge=") && parse_bridge(text_after(text, "bridge="), ret))
        return 0;
    return fail(err, ERROR_INVALID, EINVAL,
                "network \"%.100s\": there are none, host, nat, %s and "
                "bridge=NAME[,address=ADDRESS/BITS[,gateway=ADDRESS]]",
                text, HOST_LOOPBACK);
}

static bool take_range(const char **at, uint16_t *ret_first, uint16_t *ret_last)
{
    *ret_first = *ret_last = take_number(at);
    if (*ret_first == 0 || **at != '-')
        return *ret_first != 0;
    (*at)++;
    *ret_last = take_number(at);
    return *ret_last >= *ret_first;
}

/* The address before the ports, in the one way of writing it; "at" moves behind its colon. */
static bool take_address(const char **at, char ret[static NETWORK_ADDRESS_SIZE])
{
    char text[NETWORK_ADDRESS_SIZE];
    struct in6_addr address;
    const char *begin = *at;
    bool is_v6 = *begin == '[';
    const char *end = is_v6 ? strchr(begin, ']') : strchr(begin, ':');
    /* nothing but ports: their colon is the only one */
    if (!is_v6 && (!end || !strchr(end + 1, ':'))) {
        (void)snprintf(ret, NETWORK_ADDRESS_SIZE, "%s", NETWORK_PUBLISH_ADDRESS);
        return true;
    }
    begin += is_v6;
    if (!end || end == begin || end - begin >= (ptrdiff_t)sizeof(text) ||
        (is_v6 && end[1] != ':'))
        return false;
    (void)snprintf(text, sizeof(text), "%.*s", (int)(end - begin), begin);
    *at = end + 1 + is_v6;
    int family = is_v6 ? AF_INET6 : AF_INET;
    return inet_pton(family, text, &address) == 1 &&
           inet_ntop(family, &address, ret, NETWORK_ADDRESS_SIZE);
}

/* NULL, or what is wrong. */
static const char *parse_port(const char *text, struct network_port *ret)
{
    const char *at = text;
    uint16_t host_last = 0;
    uint16_t last = 0;
    if (!take_address(&at, ret->address))
        return "the address before the ports is none; write 192.0.2.1 or [2001:db8::1]";
    if (!take_range(&at, &ret->host_first, &host_last))
        return "the machine's port is no number from 1 to 65535, and no range of such";
    if (*at == '\0' || *at == '/')
        return "the port of the sandbox is missing";
    if (*at++ != ':' || !take_range(&at, &ret->first, &last))
        return "the sandbox's port is no number from 1 to 65535, and no range of such";
    if (host_last - ret->host_first != last - ret->first)
        return "the two ranges are of different length";
    if (*at && !streq(at, "/tcp") && !streq(at, "/udp"))
        return "behind the ports there is only /tcp or /udp";
    ret->udp = streq(at, "/udp");
    ret->n = (uint16_t)(last - ret->first + 1);
    return NULL;
}

/* pasta tells its sockets by their ports. */
static bool overlap(const struct network_port *a, const struct network_port *b)
{
    return a->udp == b->udp && a->host_first < b->host_first + b->n &&
           b->host_first < a->host_first + a->n;
}

int network_parse_port(const char *text, struct network *ret, struct error *err)
{
    struct network_port port = {0};
    const char *wrong = parse_port(text, &port);
    if (wrong)
        return fail(err, ERROR_INVALID, EINVAL,
                    "publish \"%.80s\": %s; write [ADDRESS:]PORT:PORT[/udp], for example "
                    "8080:80",
                    text, wrong);
    uint32_t n = port.n;
    for (uint32_t i = 0; i < ret->n_ports; i++) {
        n += ret->ports[i].n;
        if (overlap(&ret->ports[i], &port))
            return fail(err, ERROR_INVALID, EEXIST,
                        "publish \"%.80s\": port %u of the machine is published twice", text,
                        port.host_first > ret->ports[i].host_first ? port.host_first
                                                                   : ret->ports[i].host_first);
    }
    if (ret->n_ports == NETWORK_PORTS || n > NETWORK_SOCKETS)
        return fail(err, ERROR_INVALID, E2BIG,
                    "publish \"%.80s\": more than %d ports, or ranges of more than %d in all",
                    text, NETWORK_PORTS, NETWORK_SOCKETS);
    ret->ports[ret->n_ports++] = port;
    return 0;
}

int network_check(const struct network *network, struct error *err)
{
    return network->n_ports == 0 || network->mode == NETWORK_NAT
               ? 0
               : fail(err, ERROR_INVALID, EINVAL,
                      "publish: ports are published with --network nat only%s",
                      network->mode == NETWORK_HOST
                          ? "; with host they are the machine's anyway"
                          : "");
}

uint16_t network_low_port(const struct network *network)
{
    for (uint32_t i = 0; i < network->n_ports; i++)
        if (network->ports[i].host_first < NETWORK_PORT_LOW)
            return network->ports[i].host_first;
    return 0;
}
