/* SPDX-License-Identifier: Apache-2.0 */
/* See pasta_argv.h. Pure; the network is the caller's and checked, resolv.conf the machine's.
 */
#include "daemon/pasta_argv.h"

#include "base/text.h"
#include "network/order.h"

#include <arpa/inet.h>
#include <stdio.h>

static void add(struct buffer *ret, const char *argument)
{
    buffer_append(ret, argument, strlen(argument) + 1);
}

static void add_all(struct buffer *ret, const char *const *arguments, size_t n)
{
    for (size_t i = 0; i < n; i++)
        add(ret, arguments[i]);
}

/* One option for each port: of a range pasta would leave out what is in use. Both protocols are
 * always named, because what is not is forwarded by pasta's own choice. */
static void add_ports(struct buffer *ret, const struct network *network, bool udp)
{
    bool any = false;
    char text[NETWORK_ADDRESS_SIZE + 16];
    for (uint32_t i = 0; i < network->n_ports; i++) {
        const struct network_port *port = &network->ports[i];
        for (unsigned k = 0; port->udp == udp && k < port->n; k++) {
            (void)snprintf(text, sizeof(text), "%s/%u:%u", port->address, port->host_first + k,
                           port->first + k);
            add(ret, udp ? "-u" : "-t");
            add(ret, text);
            any = true;
        }
    }
    if (any)
        return;
    add(ret, udp ? "-u" : "-t");
    add(ret, "none");
}

void pasta_arguments(const struct network *network, bool dns, struct buffer *ret)
{
    /* what the sandbox listens at or connects to on its own loopback stays there: -T, -U */
    static const char *const first[] = {
        "pasta",        "--foreground", "--quiet",
        "--config-net", "--ns-ifname",  "eth0",
        "--address",    NAT_ADDRESS4,   "--netmask",
        NAT_PREFIX4,    "--gateway",    NAT_GATEWAY4,
        "--address",    NAT_ADDRESS6,   "--gateway",
        NAT_GATEWAY6,   "--mac-addr",   "9a:55:9a:55:9a:55",
        "--no-dhcp",    "--no-dhcpv6",  "--no-ra",
        "-T",           "none",         "-U",
        "none",
    };
    static const char *const forward[] = {"--dns-forward", NAT_DNS4};
    static const char *const no_dns[] = {"--dns", "none"};
    static const char *const last[] = {
        "--no-netns-quit", "--pid",   NETWORK_PATH_READY, "--userns",
        NETWORK_PATH_USER, "--netns", NETWORK_PATH_NET,
    };
    add_all(ret, first, ELEMENTS(first));
    if (!network->host_loopback)
        add(ret, "--no-map-gw");
    add_all(ret, dns ? forward : no_dns, 2);
    add_ports(ret, network, false);
    add_ports(ret, network, true);
    add_all(ret, last, ELEMENTS(last));
}

enum server { SERVER_NONE, SERVER_OUTSIDE, SERVER_LOOPBACK, SERVER_UNREACHABLE };

/* What a line of resolv.conf names. */
static enum server server_of(const char *line, char ret[static NETWORK_ADDRESS_SIZE])
{
    unsigned char bytes[16];
    const char *rest = text_after(line, "nameserver");
    if (!rest || (*rest != ' ' && *rest != '\t'))
        return SERVER_NONE;
    rest += strspn(rest, " \t");
    (void)snprintf(ret, NETWORK_ADDRESS_SIZE, "%.*s", (int)strcspn(rest, " \t\r"), rest);
    if (inet_pton(AF_INET, ret, bytes) == 1)
        return bytes[0] == 127 || bytes[0] == 0 ? SERVER_LOOPBACK : SERVER_OUTSIDE;
    if (inet_pton(AF_INET6, ret, bytes) == 1 &&
        !IN6_IS_ADDR_LOOPBACK((struct in6_addr *)bytes) &&
        !IN6_IS_ADDR_LINKLOCAL((struct in6_addr *)bytes))
        return SERVER_OUTSIDE;
    return SERVER_UNREACHABLE;
}

void resolv_conf_of(const char *text, const char *forward, struct buffer *ret,
                    char ret_resolver[static NETWORK_ADDRESS_SIZE])
{
    struct buffer ignored = {0};
    char line[512];
    char server[NETWORK_ADDRESS_SIZE];
    ret_resolver[0] = '\0';
    ret = ret ? ret : &ignored;
    for (const char *at = text; *at; at += strcspn(at, "\n"), at += *at == '\n') {
        (void)snprintf(line, sizeof(line), "%.*s", (int)strcspn(at, "\n"), at);
        enum server kind = server_of(line, server);
        if (kind == SERVER_LOOPBACK && !*ret_resolver) {
            memcpy(ret_resolver, server, NETWORK_ADDRESS_SIZE);
            if (forward)
                buffer_printf(ret, "nameserver %s\n", forward);
        } else if (kind == SERVER_NONE || kind == SERVER_OUTSIDE) {
            buffer_append_text(ret, line);
            buffer_append_char(ret, '\n');
        }
    }
    buffer_clear(&ignored);
}
