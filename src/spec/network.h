/* SPDX-License-Identifier: Apache-2.0 */
/* The network of one run, as --network and --publish write it. Pure; the texts are the
 * caller's. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum network_mode {
    NETWORK_NONE,   /* loopback only */
    NETWORK_HOST,   /* the machine's own */
    NETWORK_NAT,    /* the outside by a process that speaks for the sandbox: pasta */
    NETWORK_BRIDGE, /* an interface on a bridge of the machine's */
};

#define NETWORK_ADDRESS_SIZE 46   /* of an address as text */
#define NETWORK_PORTS        64   /* of --publish */
#define NETWORK_SOCKETS      1024 /* that these mean in all */
#define NETWORK_PORT_LOW     1024 /* below are ports of the system */

/* The machine's ports from host_first on lead to those of the sandbox from first on. */
struct network_port {
    char address[NETWORK_ADDRESS_SIZE]; /* of the machine; as inet_ntop writes it */
    uint16_t host_first;
    uint16_t first;
    uint16_t n; /* at least 1 */
    bool udp;
};

struct network {
    enum network_mode mode;
    bool host_loopback; /* with nat: the gateway's address is the machine's loopback */
    char bridge[16];    /* its name; with address and gateway, "": none */
    char address[NETWORK_ADDRESS_SIZE];
    char gateway[NETWORK_ADDRESS_SIZE];
    uint32_t prefix; /* bits of address that are the network's */
    struct network_port ports[NETWORK_PORTS];
    uint32_t n_ports;
};

/* "none", "host", "nat", "nat,host-loopback",
 * "bridge=NAME[,address=ADDRESS/BITS[,gateway=ADDRESS]]". -EINVAL with what there is. */
int network_parse_mode(const char *text, struct network *ret, struct error *err) _must_check_;

/* [ADDRESS:]PORT[-PORT]:PORT[-PORT][/tcp|/udp], an IPv6 address in brackets; appended to
 * ret->ports. Without ADDRESS: NETWORK_PUBLISH_ADDRESS. -EINVAL, saying what is wrong with it;
 * a port of the machine that is published twice, whatever the addresses, is -EEXIST. */
#define NETWORK_PUBLISH_ADDRESS "127.0.0.1"
int network_parse_port(const char *text, struct network *ret, struct error *err) _must_check_;

/* What only the whole shows: --publish without nat. */
int network_check(const struct network *network, struct error *err) _must_check_;

/* network_print.c: as the two above read them. */
void network_print_mode(const struct network *network, struct buffer *ret);
void network_print_port(const struct network_port *port, struct buffer *ret);

/* The first published port of the machine below NETWORK_PORT_LOW, or 0. */
uint16_t network_low_port(const struct network *network);
