/* SPDX-License-Identifier: Apache-2.0 */
/* Starts commands over connections to isolated that stay open, as a program would that starts
 * many: no client process, no connecting. What one start costs is then that of isolated, init
 * and the command alone.
 *
 *   connections SOCKET TEMPLATE load IN-FLIGHT MS PROGRAM [ARG…]
 *       keeps IN-FLIGHT connections busy with one Run each; prints how many ended and the
 *       milliseconds until the last of those that were begun had ended
 *   connections SOCKET TEMPLATE serve PROGRAM [ARG…]
 *       one Run for each byte on standard input, on one connection; the answer is two numbers
 *       of ns since the call was sent: until init's word that the command has ended (every
 *       process of the sandbox is dead then), and until isolated's reply with the usage
 *
 * Linked with the client's own sources for messages and framing. */
#include "base/buffer.h"
#include "paths.h"
#include "spec/message.h"
#include "varlink/varlink.h"

#include <fcntl.h>
#include <poll.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <time.h>

#define CONNECTIONS_MAX 64

struct connection {
    struct varlink varlink;
    int control_fd;
    bool busy;
    bool told;         /* init has said how the command ended */
    uint64_t begin_ns; /* when the call was sent */
    uint64_t exited_ns;
    uint64_t ended_ns;
};

struct load {
    const char *template_name;
    char **argv;
    struct connection connections[CONNECTIONS_MAX];
    size_t n;
    int null_fd;
    unsigned long ended;
};

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
}

static int complain(const char *what, const char *detail)
{
    (void)fprintf(stderr, "connections: %s: %s\n", what, detail);
    return -1;
}

static int open_connection(const char *path, struct connection *ret)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "%s", path);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return complain(path, strerror(errno));
    *ret = (struct connection){.varlink.fd = fd, .control_fd = -EBADF};
    return 0;
}

static void make_request(const struct load *load, struct buffer *out)
{
    buffer_append_text(out, "{\"method\":\"io.isolate.Run\",\"parameters\":{"
                            "\"client\":\"" ISOLATE_VERSION "\",\"template\":");
    buffer_append_json_string(out, load->template_name);
    buffer_append_text(out, ",\"argv\":[");
    for (char **word = load->argv; *word; word++) {
        if (word != load->argv)
            buffer_append_char(out, ',');
        buffer_append_json_string(out, *word);
    }
    buffer_append_text(out, "],\"control\":0},\"more\":true}");
}

/* stdio is queued on our end of the control socket, then the other one travels with the call.
 */
static int send_run(const struct load *load, struct connection *connection)
{
    const struct message message = {.type = MESSAGE_STDIO};
    const int stdio[3] = {load->null_fd, load->null_fd, 2};
    int pair[2];
    _cleanup_buffer_ struct buffer request = {0};
    connection->begin_ns = now_ns();
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return complain("control socket", strerror(-r));
    connection->control_fd = pair[0];
    connection->busy = true;
    connection->told = false;
    make_request(load, &request);
    r = message_send(pair[0], &message, stdio, 3);
    if (r == 0)
        r = varlink_send(&connection->varlink, request.data, request.length, &pair[1], 1);
    fd_close(pair[1]);
    return r < 0 ? complain("send", strerror(-r)) : 0;
}

static int on_control(struct connection *connection)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(connection->control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return 0;
    if (r <= 0) {
        connection->control_fd = fd_close(connection->control_fd);
        /* isolated says why, if it has not yet */
        return connection->busy || connection->told
                   ? 0
                   : complain("the sandbox", "ended without a word");
    }
    if (message.type != MESSAGE_EXITED)
        return 0;
    connection->told = true;
    connection->exited_ns = now_ns();
    connection->control_fd = fd_close(connection->control_fd);
    return message.value == EXIT_KIND_EXITED && message.detail == 0
               ? 0
               : complain("the command", "failed");
}

static int on_reply(struct connection *connection)
{
    const char *text = NULL;
    size_t length = 0;
    int r = varlink_receive(&connection->varlink, false, &text);
    if (r == -EAGAIN)
        return 0;
    if (r <= 0)
        return complain("isolated", r < 0 ? strerror(-r) : "closed the connection");
    if (json_scan(text, "error", &length))
        return complain("isolated", text);
    const char *continues = json_scan(text, "continues", &length);
    if (continues && *continues == 't')
        return 0;
    connection->ended_ns = now_ns();
    connection->busy = false;
    return connection->told || connection->control_fd >= 0
               ? 0
               : complain("the sandbox", "ended without a word");
}

/* Waits for whatever comes next on any connection. */
static int step(struct load *load)
{
    struct pollfd fds[2 * CONNECTIONS_MAX];
    for (size_t i = 0; i < load->n; i++) {
        const struct connection *connection = &load->connections[i];
        fds[2 * i] = (struct pollfd){.fd = connection->control_fd, .events = POLLIN};
        fds[2 * i + 1] = (struct pollfd){.fd = connection->varlink.fd, .events = POLLIN};
    }
    if (poll(fds, 2 * load->n, 60000) <= 0)
        return complain("isolated", "says nothing for a minute");
    for (size_t i = 0; i < load->n; i++) {
        struct connection *connection = &load->connections[i];
        if (fds[2 * i].revents && on_control(connection) < 0)
            return -1;
        if (fds[2 * i + 1].revents && on_reply(connection) < 0)
            return -1;
    }
    return 0;
}

static bool is_over(const struct connection *connection)
{
    return !connection->busy && connection->control_fd < 0;
}

static int run_load(struct load *load, uint64_t length_ns)
{
    uint64_t begin_ns = now_ns();
    size_t running = load->n;
    for (size_t i = 0; i < load->n; i++)
        if (send_run(load, &load->connections[i]) < 0)
            return -1;
    while (running > 0) {
        if (step(load) < 0)
            return -1;
        for (size_t i = 0; i < load->n; i++) {
            struct connection *connection = &load->connections[i];
            if (connection->begin_ns == 0 || !is_over(connection))
                continue;
            load->ended++;
            connection->begin_ns = 0;
            if (now_ns() - begin_ns >= length_ns)
                running--;
            else if (send_run(load, connection) < 0)
                return -1;
        }
    }
    (void)printf("%lu %.3f\n", load->ended, (double)(now_ns() - begin_ns) / 1e6);
    return 0;
}

static int serve(struct load *load)
{
    struct connection *connection = &load->connections[0];
    char byte;
    while (read(0, &byte, 1) == 1) {
        if (send_run(load, connection) < 0)
            return -1;
        while (!is_over(connection))
            if (step(load) < 0)
                return -1;
        (void)printf("%llu %llu\n",
                     (unsigned long long)(connection->exited_ns - connection->begin_ns),
                     (unsigned long long)(connection->ended_ns - connection->begin_ns));
        (void)fflush(stdout);
    }
    return 0;
}

static int usage(void)
{
    (void)fprintf(stderr,
                  "usage: connections SOCKET TEMPLATE load IN-FLIGHT MS PROGRAM [ARG…]\n"
                  "       connections SOCKET TEMPLATE serve PROGRAM [ARG…]\n");
    return 2;
}

int main(int argc, char **argv)
{
    static struct load load = {.n = 1};
    if (argc < 5)
        return usage();
    bool loads = strcmp(argv[3], "load") == 0;
    if (loads && argc < 7)
        return usage();
    load.template_name = argv[2];
    load.argv = argv + (loads ? 6 : 4);
    load.null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    load.n = loads ? strtoul(argv[4], NULL, 10) : 1;
    if (load.null_fd < 0 || load.n == 0 || load.n > CONNECTIONS_MAX)
        return usage();
    for (size_t i = 0; i < load.n; i++)
        if (open_connection(argv[1], &load.connections[i]) < 0)
            return 1;
    int r = loads ? run_load(&load, strtoull(argv[5], NULL, 10) * 1000000ULL) : serve(&load);
    return r < 0 ? 1 : 0;
}
