/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-decoder: between the callers of one uid and isolated. Runs with a uid of its own, in
 * an empty root, without any right, and asks the kernel for nothing but messages and memory
 * (sys/filter_own_main.c: anything else ends it); isolated is at fd 3. Callers are hostile:
 * what they send may never end, and closing a file of theirs may hang this process for ever,
 * which then is the loss of that uid alone. See varlink/decoder.h. */
#include "base/text.h"
#include "sys/fd.h"
#include "sys/filter_load.h"
#include "sys/packet.h"
#include "varlink/decoder.h"
#include "varlink/varlink.h"

#include "decoder_filter.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>

#define LINK_FD 3
#define OUT_MAX (32U << 20) /* a caller that does not read its replies is cut off here */

struct connection {
    bool used;
    bool trusted; /* root's */
    bool busy;    /* a call of it is with isolated */
    uint32_t id;
    struct varlink varlink;
    struct fd_list held; /* the fds of the call that isolated has not answered yet */
    int stream_fd;       /* whose bytes it gets; -EBADF: none */
    struct buffer out;
    size_t sent; /* bytes of out that are written */
};

static struct connection connections[DECODER_CONNECTIONS];

static struct connection *find(uint32_t id)
{
    for (size_t i = 0; i < ELEMENTS(connections); i++)
        if (connections[i].used && connections[i].id == id)
            return &connections[i];
    return NULL;
}

static void tell(enum decoder_packet type, const struct connection *connection)
{
    const struct packet packet = {.type = type, .id = connection->id};
    if (packet_send(LINK_FD, &packet, NULL, 0, 0) < 0)
        _exit(1); /* isolated is gone */
}

static void drop(struct connection *connection)
{
    connection->stream_fd = fd_close(connection->stream_fd);
    buffer_clear(&connection->out);
    /* first what isolated waits for, then what may hang */
    tell(DECODER_GONE, connection);
    connection->used = false;
    fd_list_clear(&connection->held);
    varlink_clear(&connection->varlink);
}

static void add(struct packet *packet)
{
    struct connection *connection = NULL;
    for (size_t i = 0; i < ELEMENTS(connections) && !connection; i++)
        if (!connections[i].used)
            connection = &connections[i];
    if (packet->fds.n != 1 || !connection)
        _exit(1);
    *connection = (struct connection){
        .used = true,
        .trusted = packet->value == 1,
        .id = packet->id,
        .varlink = {.fd = TAKE_FD(packet->fds.fds[0])},
        .stream_fd = -EBADF,
    };
    packet->fds.n = 0;
    if (fcntl(connection->varlink.fd, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
        drop(connection);
}

/* Writes what the caller takes. */
static void flush(struct connection *connection)
{
    struct buffer *out = &connection->out;
    while (connection->used && connection->sent < out->length) {
        ssize_t n = send(connection->varlink.fd, out->data + connection->sent,
                         out->length - connection->sent, MSG_NOSIGNAL | MSG_DONTWAIT);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0 && errno == EAGAIN)
            return;
        if (n < 0) {
            drop(connection);
            return;
        }
        connection->sent += (size_t)n;
    }
    out->length = connection->sent = 0;
}

static void append(struct connection *connection, const void *data, size_t length)
{
    if (connection->out.length + length > OUT_MAX)
        connection->out.failed = true;
    else
        buffer_append(&connection->out, data, length);
    if (connection->out.failed)
        drop(connection);
    else
        flush(connection);
}

static void reply(struct connection *connection, const struct packet *packet)
{
    connection->busy = packet->value == 1;
    fd_list_clear(&connection->held);
    if (packet->fds.n > 0) {
        /* they go with the first byte of their message: what is before it must be out */
        flush(connection);
        if (connection->sent < connection->out.length ||
            socket_send(connection->varlink.fd, packet->payload.data,
                        packet->payload.length + 1, packet->fds.fds, packet->fds.n) < 0)
            drop(connection);
        return;
    }
    append(connection, packet->payload.data ? packet->payload.data : "",
           packet->payload.length + 1);
}

static void turn_away(const struct packet *packet)
{
    const struct buffer *text = &packet->payload;
    if (packet->fds.n == 1 && text->data &&
        send(packet->fds.fds[0], text->data, text->length + 1, MSG_NOSIGNAL | MSG_DONTWAIT) < 0)
        errno = 0; /* then it is not told */
}

static void on_link(void)
{
    _cleanup_packet_ struct packet packet = {0};
    int r = packet_receive(LINK_FD, MSG_DONTWAIT, &packet);
    if (r == -EAGAIN)
        return;
    if (r <= 0)
        _exit(0);
    if (packet.type == DECODER_ADD || packet.type == DECODER_REFUSE) {
        packet.type == DECODER_ADD ? add(&packet) : turn_away(&packet);
        return;
    }
    struct connection *connection = find(packet.id);
    if (!connection)
        return; /* it went while this was on its way */
    if (packet.type == DECODER_REPLY) {
        reply(connection, &packet);
    } else if (packet.type == DECODER_STREAM && packet.fds.n == 1) {
        fd_close(connection->stream_fd);
        fd_list_clear(&connection->held);
        connection->stream_fd = TAKE_FD(packet.fds.fds[0]);
        packet.fds.n = 0;
    } else {
        drop(connection);
    }
}

/* What isolated may hold without ever being able to hang on it. */
static bool is_harmless(int fd)
{
    int flags = fcntl(fd, F_GETFL);
    int type = 0;
    int domain = 0;
    socklen_t length = sizeof(int);
    if (flags < 0)
        return false;
    if (flags & O_PATH)
        return true;
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) == 0 &&
           getsockopt(fd, SOL_SOCKET, SO_TYPE, &type, &length) == 0 && domain == AF_UNIX &&
           type == SOCK_SEQPACKET;
}

static void refuse(struct connection *connection, const char *why)
{
    _cleanup_buffer_ struct buffer text = {0};
    buffer_append_text(&text,
                       "{\"error\":\"io.isolate.Protocol\",\"parameters\":{\"message\":");
    buffer_append_json_string(&text, why);
    buffer_append_text(&text, ",\"errno\":71}}");
    if (text.failed)
        drop(connection);
    else
        append(connection, text.data, text.length + 1);
}

static void forward(struct connection *connection, const char *text)
{
    struct packet packet = {
        .type = DECODER_CALL, .id = connection->id, .fds = connection->varlink.fds};
    size_t length = strlen(text);
    bool harmless = true;
    for (size_t i = 0; i < packet.fds.n && harmless; i++)
        harmless = connection->trusted || is_harmless(packet.fds.fds[i]);
    if (!harmless) {
        refuse(connection, "to hand over open files is for root only");
    } else if (!text_is_utf8(text, length)) {
        refuse(connection, "the message is not UTF-8");
    } else if (json_count_values(text) > VARLINK_VALUES_MAX) {
        /* isolated counts, too, but others wait for it meanwhile */
        refuse(connection, VARLINK_TOO_MANY_VALUES);
    } else {
        int r = packet_send(LINK_FD, &packet, text, length, 0);
        if (r == 0) {
            connection->busy = true;
            connection->held = packet.fds;
            connection->varlink.fds.n = 0;
            return;
        }
        if (r != -EMSGSIZE)
            _exit(1);
        refuse(connection, "too many fds for a message of that size");
    }
    fd_list_clear(&connection->varlink.fds);
}

static void on_caller(struct connection *connection, short events)
{
    const char *text = NULL;
    if (events & POLLOUT)
        flush(connection);
    if (!connection->used || !(events & (POLLIN | POLLHUP | POLLERR | POLLRDHUP)))
        return;
    /* in the middle of a call only its end is of interest */
    if (connection->busy) {
        if (events & (POLLHUP | POLLERR | POLLRDHUP))
            drop(connection);
        return;
    }
    int r = varlink_receive(&connection->varlink, false, &text);
    if (r == -EAGAIN)
        return;
    if (r <= 0)
        drop(connection);
    else
        forward(connection, text);
}

static void on_stream(struct connection *connection)
{
    char block[16384];
    ssize_t n = read(connection->stream_fd, block, sizeof(block));
    if (n < 0 && (errno == EINTR || errno == EAGAIN))
        return;
    if (n > 0) {
        append(connection, block, (size_t)n);
        return;
    }
    connection->stream_fd = fd_close(connection->stream_fd);
    connection->busy = false;
    tell(DECODER_STREAMED, connection);
}

/* One wait for all. */
static void step(void)
{
    struct pollfd fds[1 + 2 * DECODER_CONNECTIONS];
    struct connection *of[1 + 2 * DECODER_CONNECTIONS];
    nfds_t n = 0;
    fds[n++] = (struct pollfd){.fd = LINK_FD, .events = POLLIN};
    for (size_t i = 0; i < ELEMENTS(connections); i++) {
        struct connection *connection = &connections[i];
        bool pending = connection->sent < connection->out.length;
        if (!connection->used)
            continue;
        of[n] = connection;
        fds[n++] = (struct pollfd){
            .fd = connection->varlink.fd,
            .events =
                (short)((connection->busy ? 0 : POLLIN) | (pending ? POLLOUT : 0) | POLLRDHUP),
        };
        of[n] = connection;
        fds[n++] =
            (struct pollfd){.fd = pending ? -1 : connection->stream_fd, .events = POLLIN};
    }
    if (poll(fds, n, -1) < 0)
        return;
    for (nfds_t i = 1; i < n; i += 2) {
        if (fds[i].revents)
            on_caller(of[i], fds[i].revents);
        if (fds[i + 1].revents && of[i]->used && of[i]->stream_fd == fds[i + 1].fd)
            on_stream(of[i]);
    }
    if (fds[0].revents)
        on_link();
}

int main(void)
{
    struct error err;
    /* before anything of a caller's is read */
    if (filter_load_own(filter_decoder, sizeof(filter_decoder), &err) < 0)
        return 1;
    for (;;)
        step();
}
