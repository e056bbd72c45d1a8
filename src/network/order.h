/* SPDX-License-Identifier: Apache-2.0 */
/* What isolated and isolate-network say to each other, in packets on a SOCK_SEQPACKET.
 *
 * NETWORK_CONNECT, to isolate-network: the payload is struct network_order, then (nat) pasta's
 * arguments, each ended by NUL; fds of enum network_fd.
 *
 * NETWORK_READY, back: the sandbox has its network. Or NETWORK_FAILED: value is -errno, the
 * payload a sentence; the end follows. */
#pragma once

#include <stdint.h>

enum network_packet { NETWORK_CONNECT = 1, NETWORK_READY, NETWORK_FAILED };

enum network_fd {
    NETWORK_FD_USER,   /* the sandbox's user namespace */
    NETWORK_FD_NET,    /* its network namespace */
    NETWORK_FD_INIT,   /* pidfd of its init: when that ends, so does its network */
    NETWORK_FD_CGROUP, /* of what makes the network */
    _NETWORK_FDS
};

/* An address and port, of the machine. */
struct network_socket {
    uint8_t address[16]; /* the first 4 of AF_INET */
    uint16_t port;       /* host order */
    uint8_t is_v6;
    uint8_t is_udp;
};

#define NETWORK_LOW_PORTS     1 /* may listen at ports below 1024 */
#define NETWORK_HOST_LOOPBACK 2 /* may connect to the machine's loopback */

struct network_order {
    /* an interface on that bridge of the machine's, with this address and default gateway, or
     * "" for none; and nothing of what follows. "": nat */
    char bridge[16];
    char address[46];
    char gateway[46];
    uint32_t prefix; /* length of the address's network */

    uint32_t uid; /* whom pasta runs as; nobody else of the machine is that */
    uint32_t flags;
    char resolver[46];  /* loopback address of the machine's own name server; "": none such */
    uint32_t n_sockets; /* that pasta is to listen at */
    struct network_socket sockets[1024];
};

/* Where the program finds what its arguments name. */
#define NETWORK_PASTA      "/usr/bin/pasta"
#define NETWORK_PATH_USER  "/tmp/user"
#define NETWORK_PATH_NET   "/tmp/net"
#define NETWORK_PATH_READY "/tmp/ready"
