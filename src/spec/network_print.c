/* SPDX-License-Identifier: Apache-2.0 */
/* The other way round of network.c. */
#include "spec/network.h"

#include <string.h>

void network_print_mode(const struct network *network, struct buffer *ret)
{
    static const char *const names[] = {
        [NETWORK_NONE] = "none",
        [NETWORK_HOST] = "host",
        [NETWORK_NAT] = "nat",
        [NETWORK_BRIDGE] = "bridge=",
    };
    buffer_append_text(ret, names[network->mode]);
    if (network->host_loopback)
        buffer_append_text(ret, ",host-loopback");
    buffer_append_text(ret, network->bridge);
    if (*network->address)
        buffer_printf(ret, ",address=%s/%u", network->address, network->prefix);
    if (*network->gateway)
        buffer_printf(ret, ",gateway=%s", network->gateway);
}

static void print_range(unsigned first, unsigned n, struct buffer *ret)
{
    buffer_printf(ret, n > 1 ? "%u-%u" : "%u", first, first + n - 1);
}

void network_print_port(const struct network_port *port, struct buffer *ret)
{
    buffer_printf(ret, strchr(port->address, ':') ? "[%s]:" : "%s:", port->address);
    print_range(port->host_first, port->n, ret);
    buffer_append_char(ret, ':');
    print_range(port->first, port->n, ret);
    if (port->udp)
        buffer_append_text(ret, "/udp");
}
