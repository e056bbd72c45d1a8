/* SPDX-License-Identifier: Apache-2.0 */
/* The arguments of pasta, and what a sandbox is told of its name servers. Pure. */
#pragma once

#include "base/buffer.h"
#include "spec/network.h"

/* What a sandbox with nat sees, wherever it runs: addresses that no network has (RFC 7335 and
 * 4193), so that none of the machine's surroundings is hidden. */
#define NAT_ADDRESS4 "192.0.0.2"
#define NAT_PREFIX4  "29"
#define NAT_GATEWAY4 "192.0.0.1"
#define NAT_DNS4     "192.0.0.3" /* the machine's own name server, where that is on loopback */
#define NAT_ADDRESS6 "fd69:736f:6c61:7465::2"
#define NAT_GATEWAY6 "fd69:736f:6c61:7465::1"

/* Appends the arguments, each ended by NUL. dns: whether NAT_DNS4 leads somewhere. */
void pasta_arguments(const struct network *network, bool dns, struct buffer *ret);

/* From the machine's resolv.conf to a sandbox's: the first IPv4 name server on the machine's
 * loopback is replaced by `forward` (NULL: left out); others there, and those that only the
 * machine's links reach, are left out. ret_resolver gets that first one's address, "" where
 * there is none. ret may be NULL. */
void resolv_conf_of(const char *text, const char *forward, struct buffer *ret,
                    char ret_resolver[static NETWORK_ADDRESS_SIZE]);
