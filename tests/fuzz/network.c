/* SPDX-License-Identifier: Apache-2.0 */
/* spec/network.c and network_print.c: what is printed is read as the same. */
#include "target.h"

#include "spec/network.h"

#include <string.h>

const bool target_needs_walls = false;

static void check_mode(const struct network *network)
{
    struct network again = {0};
    struct error err;
    _cleanup_buffer_ struct buffer text = {0};
    network_print_mode(network, &text);
    MUST(network_parse_mode(text.data, &again, &err) == 0);
    MUST(again.mode == network->mode && again.host_loopback == network->host_loopback);
    MUST(strcmp(again.bridge, network->bridge) == 0 && again.prefix == network->prefix);
    MUST(strcmp(again.address, network->address) == 0);
    MUST(strcmp(again.gateway, network->gateway) == 0);
}

static void check_ports(const struct network *network)
{
    struct network again = {.mode = network->mode};
    struct error err;
    uint32_t sockets = 0;
    for (uint32_t i = 0; i < network->n_ports; i++) {
        const struct network_port *port = &network->ports[i];
        _cleanup_buffer_ struct buffer text = {0};
        network_print_port(port, &text);
        MUST(network_parse_port(text.data, &again, &err) == 0);
        const struct network_port *other = &again.ports[i];
        MUST(strcmp(other->address, port->address) == 0 && other->udp == port->udp);
        MUST(other->host_first == port->host_first && other->first == port->first);
        MUST(other->n == port->n);
        MUST(port->n > 0 && port->host_first > 0 && port->first > 0);
        MUST(port->host_first + port->n - 1 <= UINT16_MAX);
        MUST(port->first + port->n - 1 <= UINT16_MAX);
        sockets += port->n;
    }
    MUST(sockets <= NETWORK_SOCKETS);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    struct network network = {0};
    struct error err = {0};
    _cleanup_free_ char *mode = input_text(&input);
    if (network_parse_mode(mode, &network, &err) < 0) {
        MUST(err.code == ERROR_INVALID);
        network = (struct network){0};
    } else {
        check_mode(&network);
    }
    while (input.left > 0) {
        _cleanup_free_ char *port = input_text(&input);
        (void)!network_parse_port(port, &network, &err);
    }
    check_ports(&network);
    (void)!network_check(&network, &err);
    (void)network_low_port(&network);
}
