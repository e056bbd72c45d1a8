/* SPDX-License-Identifier: Apache-2.0 */
/* Packets between isolated's own processes over SOCK_SEQPACKET: a small header, a payload of
 * any size up to PACKET_MAX (a large one travels in a sealed memfd), and fds. No privilege.
 * What is received is checked here for form only; the peer may be in hostile hands. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "sys/socket.h"

#include <stddef.h>
#include <stdint.h>

#define PACKET_MAX (17U << 20)

struct packet {
    uint32_t type;
    uint32_t id;
    int32_t value;
    struct buffer payload; /* received; its text is NUL-terminated */
    struct fd_list fds;    /* received */
};

/* Closes the fds, frees the payload. */
void packet_clear(struct packet *packet);
#define _cleanup_packet_ _cleanup_(packet_clear)

/* Sends type, id and value with a payload and borrowed fds. flags: 0 or MSG_DONTWAIT. 0,
 * -EAGAIN where it would wait, -errno. */
int packet_send(int fd, const struct packet *header, const void *payload, size_t length,
                int flags) _must_check_;

/* Receives one into *ret, which is cleared first: 1, 0 at the end, -EAGAIN, -errno. After
 * -EPROTO the fds that came are still in ret->fds. */
int packet_receive(int fd, int flags, struct packet *ret) _must_check_;
