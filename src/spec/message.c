/* SPDX-License-Identifier: Apache-2.0 */
/* Control and park messages. Runs in client, isolated and init; what comes from a peer is
 * checked for size and version here and for meaning by the receiver. */
#include "spec/message.h"

#include "base/text.h"

#include <string.h>
#include <sys/socket.h>

int message_send(int fd, const struct message *message, const int *fds, size_t n_fds)
{
    struct message out = *message;
    out.version = MESSAGE_VERSION;
    return socket_send(fd, &out, sizeof(out), fds, n_fds);
}

int message_send_simple(int fd, enum message_type type, int32_t value, int32_t detail)
{
    struct message message = {.type = (uint16_t)type, .value = value, .detail = detail};
    return message_send(fd, &message, NULL, 0);
}

int message_send_error(int fd, uint32_t serial, const struct error *err)
{
    struct message message = {
        .type = MESSAGE_FAILED,
        .value = (int32_t)err->code,
        .detail = err->errnum,
        .serial = serial,
    };
    memcpy(message.text, err->text, sizeof(message.text));
    return message_send(fd, &message, NULL, 0);
}

int message_try(int fd, const struct message *message)
{
    struct message out = *message;
    out.version = MESSAGE_VERSION;
    return socket_send_flags(fd, &out, sizeof(out), NULL, 0, MSG_DONTWAIT);
}

int message_receive(int fd, struct message *ret, int flags, struct fd_list *list)
{
    struct message in;
    ssize_t n = socket_receive_all(fd, &in, sizeof(in), flags, list);
    if (n <= 0)
        return (int)n;
    if ((size_t)n != sizeof(in) || in.version != MESSAGE_VERSION)
        return -EPROTO;
    in.text[sizeof(in.text) - 1] = '\0';
    *ret = in;
    return 1;
}

int message_receive_to_end(int fd, struct message *ret, int flags, struct fd_list *list)
{
    int r = message_receive(fd, ret, flags, list);
    return r == -ECONNRESET ? message_receive(fd, ret, flags, list) : r;
}

void message_to_error(const struct message *message, struct error *ret)
{
    ret->code = message->value > ERROR_NONE && message->value < _ERROR_CODES
                    ? (enum error_code)message->value
                    : ERROR_PROTOCOL;
    ret->errnum = message->detail > 0 && message->detail < 4096 ? message->detail : EPROTO;
    memcpy(ret->text, message->text, sizeof(ret->text));
    ret->text[sizeof(ret->text) - 1] = '\0';
}

static const char *const kind_names[_EXIT_KINDS] = {
    [EXIT_KIND_EXITED] = "exited",
    [EXIT_KIND_SIGNALED] = "signaled",
    [EXIT_KIND_TIMEOUT] = "timeout",
    [EXIT_KIND_CPU_TIME] = "cpu_time",
};

const char *exit_kind_name(int kind)
{
    return kind >= EXIT_KIND_EXITED && kind < _EXIT_KINDS ? kind_names[kind] : NULL;
}

int exit_kind_named(const char *name)
{
    for (int kind = EXIT_KIND_EXITED; kind < _EXIT_KINDS; kind++)
        if (streq(kind_names[kind], name))
            return kind;
    return 0;
}

int exit_status_of(int kind, int detail)
{
    return kind == EXIT_KIND_EXITED     ? detail & 255
           : kind == EXIT_KIND_SIGNALED ? 128 + (detail & 127)
                                        : 124;
}
