/* SPDX-License-Identifier: Apache-2.0 */
/* See packet.h. Runs in isolated, its nursery, builder and decoders. */
#include "sys/packet.h"
#include "sys/fd.h"

#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <unistd.h>

#define INLINE_MAX 32768 /* an unprivileged socket's queue takes a few of them */

struct wire_header {
    uint32_t type;
    uint32_t id;
    int32_t value;
    uint32_t in_memfd; /* 1: the last fd holds the payload */
};

void packet_clear(struct packet *packet)
{
    fd_list_clear(&packet->fds);
    buffer_clear(&packet->payload);
}

int packet_send(int fd, const struct packet *header, const void *payload, size_t length,
                int flags)
{
    char block[sizeof(struct wire_header) + INLINE_MAX];
    struct wire_header wire = {header->type, header->id, header->value, length > INLINE_MAX};
    int fds[SOCKET_FDS_MAX];
    size_t n = header->fds.n;
    if (length > PACKET_MAX || n + wire.in_memfd > SOCKET_FDS_MAX)
        return -EMSGSIZE;
    memcpy(fds, header->fds.fds, n * sizeof(int));
    memcpy(block, &wire, sizeof(wire));
    if (!wire.in_memfd) {
        if (length > 0)
            memcpy(block + sizeof(wire), payload, length);
        return socket_send_flags(fd, block, sizeof(wire) + length, fds, n, flags);
    }
    _cleanup_close_ int memfd = memfd_of("isolate-packet", payload, length, 0600);
    if (memfd < 0)
        return memfd;
    fds[n] = memfd;
    return socket_send_flags(fd, block, sizeof(wire), fds, n + 1, flags);
}

static int take_memfd(struct packet *packet)
{
    const void *data = NULL;
    size_t length = 0;
    if (packet->fds.n == 0)
        return -EPROTO;
    int fd = packet->fds.fds[packet->fds.n - 1];
    int r = memfd_map(fd, PACKET_MAX, &data, &length);
    if (r < 0)
        return -EPROTO;
    packet->fds.n--;
    fd_close(fd);
    buffer_append(&packet->payload, data, length);
    (void)munmap((void *)data, length);
    return packet->payload.failed ? -ENOMEM : 0;
}

int packet_receive(int fd, int flags, struct packet *ret)
{
    char block[sizeof(struct wire_header) + INLINE_MAX];
    struct wire_header wire;
    packet_clear(ret);
    ssize_t n = socket_receive_all(fd, block, sizeof(block), flags, &ret->fds);
    if (n <= 0)
        return (int)n;
    if ((size_t)n < sizeof(wire))
        return -EPROTO;
    memcpy(&wire, block, sizeof(wire));
    ret->type = wire.type;
    ret->id = wire.id;
    ret->value = wire.value;
    int r = 0;
    if (wire.in_memfd)
        r = take_memfd(ret);
    else
        buffer_append(&ret->payload, block + sizeof(wire), (size_t)n - sizeof(wire));
    if (r < 0 || ret->payload.failed)
        return r < 0 ? r : -ENOMEM;
    return 1;
}
