/* SPDX-License-Identifier: Apache-2.0 */
/* Varlink framing. Runs in client and isolated; bytes and fds come from the peer. */
#include "varlink/varlink.h"

#include <string.h>
#include <sys/socket.h>

void varlink_clear(struct varlink *varlink)
{
    varlink->fd = fd_close(varlink->fd);
    buffer_clear(&varlink->in);
    fd_list_clear(&varlink->fds);
    varlink->consumed = 0;
}

int varlink_send(struct varlink *varlink, const char *text, size_t length, const int *fds,
                 size_t n_fds)
{
    if (length > VARLINK_MESSAGE_MAX)
        return -EMSGSIZE;
    _cleanup_buffer_ struct buffer out = {0};
    buffer_append(&out, text, length);
    if (out.failed)
        return -ENOMEM;
    /* the terminating NUL of the buffer is the end of the message */
    return socket_send(varlink->fd, out.data, length + 1, fds, n_fds);
}

static void drop_consumed(struct varlink *varlink)
{
    struct buffer *in = &varlink->in;
    if (varlink->consumed == 0)
        return;
    memmove(in->data, in->data + varlink->consumed, in->length - varlink->consumed);
    in->length -= varlink->consumed;
    varlink->consumed = 0;
}

/* Reads on, but never beyond the end of a message, so that fds stay with the one that brought
 * them: looks first, then takes. The length, 0 at the end, -errno. */
static ssize_t read_some(struct varlink *varlink, bool wait, char *block, size_t size)
{
    ssize_t seen = 0;
    do
        seen = recv(varlink->fd, block, size, MSG_PEEK | (wait ? 0 : MSG_DONTWAIT));
    while (seen < 0 && errno == EINTR);
    if (seen <= 0)
        return seen < 0 ? -errno : 0;
    const char *end = memchr(block, '\0', (size_t)seen);
    size_t want = end ? (size_t)(end - block) + 1 : (size_t)seen;
    return socket_receive(varlink->fd, block, want, MSG_DONTWAIT, &varlink->fds);
}

int varlink_receive(struct varlink *varlink, bool wait, const char **ret_text)
{
    char block[8192];
    drop_consumed(varlink);
    for (;;) {
        struct buffer *in = &varlink->in;
        if (in->length > 0 && in->data[in->length - 1] == '\0') {
            *ret_text = in->data;
            varlink->consumed = in->length;
            return 1;
        }
        if (in->length > VARLINK_MESSAGE_MAX)
            return -EMSGSIZE;
        ssize_t n = read_some(varlink, wait, block, sizeof(block));
        if (n <= 0)
            return (int)n;
        buffer_append(in, block, (size_t)n);
        if (in->failed)
            return -ENOMEM;
    }
}
