/* SPDX-License-Identifier: Apache-2.0 */
/* spec/message.c, sys/packet.c, init/stdio.c: what comes on a SOCK_SEQPACKET, with fds of every
 * kind. No fd is left. */
#include "target.h"

#include "init/init.h"
#include "sys/packet.h"

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>

const bool target_needs_walls = false;

static int send_one(int to, struct input *input)
{
    struct message message = {.version = MESSAGE_VERSION};
    size_t length = 0;
    int fds[] = {to, target_directory_fd(), open("/dev/null", O_RDONLY | O_CLOEXEC),
                 open("/dev/null", O_PATH | O_CLOEXEC)};
    int sent[SOCKET_FDS_MAX];
    size_t n = input_byte(input) % 6;
    bool whole = input_byte(input) & 1;
    for (size_t i = 0; i < n; i++)
        sent[i] = fds[input_below(input, ELEMENTS(fds))];
    size_t head = whole ? offsetof(struct message, type) : 0;
    const uint8_t *bytes = input_bytes(input, sizeof(message) - head + !whole, &length);
    if (length > 0)
        memcpy((char *)&message + head, bytes, length - (length > sizeof(message) - head));
    int r = socket_send(to, &message, whole ? sizeof(message) : length, sent, n);
    fd_close(fds[2]);
    fd_close(fds[3]);
    return r;
}

static void receive_message(int from)
{
    struct message message;
    struct error err;
    _cleanup_fd_list_ struct fd_list list = {0};
    int r = message_receive(from, &message, MSG_DONTWAIT, &list);
    if (r != 1)
        return;
    MUST(message.version == MESSAGE_VERSION);
    message_to_error(&message, &err);
    MUST(err.code > ERROR_NONE && err.code < _ERROR_CODES && err.errnum > 0);
    MUST(strlen(err.text) < sizeof(err.text));
}

static void receive_stdio(int from)
{
    struct error err;
    int stdio[3];
    if (init_receive_stdio(from, stdio, &err) < 0)
        return;
    for (int i = 0; i < 3; i++) {
        int flags = fcntl(stdio[i], F_GETFL);
        MUST(flags >= 0 && !(flags & O_PATH));
        fd_close(stdio[i]);
    }
}

static void receive_packet(int from)
{
    _cleanup_packet_ struct packet packet = {0};
    int r = packet_receive(from, MSG_DONTWAIT, &packet);
    MUST(r <= 1);
    MUST(r != 1 || !packet.payload.data || !packet.payload.data[packet.payload.length]);
}

void target_run(const uint8_t *data, size_t size)
{
    struct input input = {data, size};
    int pair[2];
    size_t before = target_count_fds();
    if (socket_pair(SOCK_SEQPACKET, pair) < 0)
        return;
    for (int i = 0; i < 4 && input.left > 0; i++) {
        size_t as = input_below(&input, 3);
        if (send_one(pair[0], &input) < 0)
            break;
        if (as == 0)
            receive_message(pair[1]);
        else if (as == 1)
            receive_stdio(pair[1]);
        else
            receive_packet(pair[1]);
    }
    fd_close(pair[0]);
    fd_close(pair[1]);
    MUST(target_count_fds() == before);
}
