/* SPDX-License-Identifier: Apache-2.0 */
/* varlink/frame.c: a stream in pieces, with fds at each of them. What comes out is what went
 * in, cut at NUL bytes, and each fd comes with a message, or is closed. */
#include "target.h"

#include "varlink/varlink.h"

#include <string.h>
#include <sys/socket.h>

const bool target_needs_walls = false;

#define SENT_MAX 65536

struct stream {
    char sent[SENT_MAX];
    size_t n_sent;
    size_t n_seen;
    struct varlink varlink;
};

/* Takes out all that is whole; false at the end. */
static bool receive(struct stream *stream)
{
    const char *text = NULL;
    int r = 0;
    while ((r = varlink_receive(&stream->varlink, false, &text)) == 1) {
        size_t length = strlen(text);
        MUST(length < stream->n_sent - stream->n_seen);
        MUST(memcmp(stream->sent + stream->n_seen, text, length + 1) == 0);
        stream->n_seen += length + 1;
        fd_list_clear(&stream->varlink.fds);
    }
    MUST(r <= 0);
    if (r == -EAGAIN)
        MUST(!memchr(stream->sent + stream->n_seen, '\0', stream->n_sent - stream->n_seen));
    return r == -EAGAIN;
}

static bool send_piece(struct stream *stream, int to, struct input *input)
{
    size_t length = 0;
    size_t n_fds = input_byte(input);
    const uint8_t *bytes = input_bytes(input, 1 + input_u32(input) % 4096, &length);
    int fds[SOCKET_FDS_MAX];
    /* most pieces have none, some all that there may be */
    n_fds = n_fds < 192 ? 0 : n_fds < 250 ? n_fds - 191 : SOCKET_FDS_MAX;
    if (length == 0 || stream->n_sent + length > SENT_MAX)
        return false;
    for (size_t i = 0; i < n_fds; i++)
        fds[i] = target_directory_fd();
    if (socket_send(to, bytes, length, fds, n_fds) < 0)
        return false;
    memcpy(stream->sent + stream->n_sent, bytes, length);
    stream->n_sent += length;
    return true;
}

void target_run(const uint8_t *data, size_t size)
{
    static struct stream stream;
    struct input input = {data, size};
    int pair[2];
    size_t before = target_count_fds();
    if (socket_pair(SOCK_STREAM, pair) < 0)
        return;
    stream = (struct stream){.varlink = {.fd = pair[1]}};
    bool open = true;
    while (open && send_piece(&stream, pair[0], &input))
        open = receive(&stream);
    (void)close(pair[0]);
    while (open)
        open = receive(&stream);
    varlink_clear(&stream.varlink);
    MUST(target_count_fds() == before);
}
