/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-network: makes the network of one sandbox and keeps it as long as its init lives.
 * Started by isolated, as root, for each sandbox that asks for such a network, as process 1 of
 * a pid namespace: whatever ends it, what it has started ends with it. It outlives isolated.
 * Its order comes from isolated; nobody else speaks to it. While the sandbox runs it has no
 * rights.
 */
#include "network/network.h"

#include "base/text.h"
#include "sys/filter_load.h"
#include "sys/packet.h"
#include "sys/process.h"

#include "network_filter.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#define LINK_FD  3
#define READY_MS 10000
#define SAID_MAX 4096

static int tell(enum network_packet type, int value, const char *text)
{
    const struct packet packet = {.type = type, .value = value};
    return packet_send(LINK_FD, &packet, text, strlen(text), MSG_DONTWAIT);
}

/* The last line that says something: without a syslog this is said of each. */
static const char *last_line(char *text)
{
    const char *last = "";
    char *at = text;
    for (char *line = strsep(&at, "\n"); line; line = strsep(&at, "\n"))
        if (*line && !text_after(line, "Failed to send"))
            last = line;
    return last;
}

/* What pasta writes is read to the end, so that it never waits for a reader; only the beginning
 * is of interest. */
static void listen_to(const struct pasta *pasta, struct buffer *said)
{
    char bytes[1024];
    for (;;) {
        ssize_t n = read(pasta->stderr_fd, bytes, sizeof(bytes));
        if (n <= 0)
            return;
        if (said->length + (size_t)n < SAID_MAX)
            buffer_append(said, bytes, (size_t)n);
    }
}

static int fail_of_pasta(struct buffer *said, bool ended, struct error *err)
{
    char escaped[400] = "";
    if (said->data)
        text_escape(escaped, sizeof(escaped), last_line(said->data));
    if (!ended)
        return fail(err, ERROR_SYSTEM, ETIMEDOUT,
                    "network nat: pasta is not ready after %d s%s%s", READY_MS / 1000,
                    *escaped ? ": " : "", escaped);
    return fail(err, ERROR_SYSTEM, 0, "network nat: pasta: %s",
                *escaped ? escaped : "ended without a word");
}

enum { WATCH_INIT, WATCH_PASTA, WATCH_SAID, WATCH_READY, _WATCHES };

/* Waits until something of these is over; ready: whether pasta was when this was called. 1 when
 * it has become so, 0 when init has ended. */
static int watch(const struct pasta *pasta, int init_fd, bool ready, struct error *err)
{
    _cleanup_buffer_ struct buffer said = {0};
    struct pollfd fds[_WATCHES] = {
        [WATCH_INIT] = {.fd = init_fd, .events = POLLIN},
        [WATCH_PASTA] = {.fd = pasta->pidfd, .events = POLLIN},
        [WATCH_SAID] = {.fd = pasta->stderr_fd, .events = POLLIN},
        [WATCH_READY] = {.fd = ready ? -1 : pasta->ready_fd, .events = POLLIN},
    };
    uint64_t end_ms = time_now_ms() + READY_MS;
    for (;;) {
        uint64_t now_ms = time_now_ms();
        int n = poll(fds, _WATCHES, ready ? -1 : now_ms < end_ms ? (int)(end_ms - now_ms) : 0);
        if (n < 0 && errno != EINTR)
            return fail(err, ERROR_SYSTEM, errno, "network: poll: ");
        if (fds[WATCH_SAID].revents)
            listen_to(pasta, &said);
        if (fds[WATCH_SAID].revents & (POLLHUP | POLLERR))
            fds[WATCH_SAID].fd = -1;
        if (fds[WATCH_INIT].revents)
            return 0;
        if (fds[WATCH_READY].revents & POLLIN)
            return 1;
        if (fds[WATCH_PASTA].revents || n == 0)
            return fail_of_pasta(&said, n != 0, err);
    }
}

/* It stays as long as the sandbox's network namespace, without anybody's help. */
static int bridge(const struct network_order *order, const int *fds, struct error *err)
{
    int r = bridge_connect(order, fds[NETWORK_FD_NET], err);
    if (r == 0)
        (void)!tell(NETWORK_READY, 0, "");
    return r;
}

static int connect_sandbox(const struct packet *packet, struct error *err)
{
    const struct network_order *order = (const void *)packet->payload.data;
    const int *fds = packet->fds.fds;
    struct pasta pasta = {.pidfd = -EBADF, .stderr_fd = -EBADF, .ready_fd = -EBADF};
    if (packet->type != NETWORK_CONNECT || packet->fds.n != _NETWORK_FDS ||
        packet->payload.length < sizeof(*order))
        return fail(err, ERROR_PROTOCOL, EPROTO, "network: an order without its parts");
    if (*order->bridge)
        return bridge(order, fds, err);
    int r = ports_check(order, err);
    if (r == 0)
        r = guard_attach(order, fds[NETWORK_FD_CGROUP], err);
    if (r == 0)
        r = place_enter(order, fds, err);
    if (r == 0)
        r = pasta_start(order, packet->payload.data + sizeof(*order),
                        packet->payload.length - sizeof(*order), &pasta, err);
    if (r == 0)
        r = network_drop(order, err);
    if (r == 0)
        r = filter_load_own(filter_network, sizeof(filter_network), err);
    if (r == 0)
        r = watch(&pasta, fds[NETWORK_FD_INIT], false, err);
    if (r != 1)
        return r;
    (void)!tell(NETWORK_READY, 0, "");
    return watch(&pasta, fds[NETWORK_FD_INIT], true, err);
}

int main(void)
{
    struct error err = {0};
    _cleanup_packet_ struct packet packet = {0};
    (void)prctl(PR_SET_NAME, "isolate-network");
    (void)signal(SIGPIPE, SIG_IGN);
    (void)umask(022);
    /* it may outlive whoever reads isolated's */
    int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        if (null_fd < 0 || dup2(null_fd, fd) < 0)
            return 1;
    int r = packet_receive(LINK_FD, 0, &packet);
    if (r <= 0)
        return 1;
    r = connect_sandbox(&packet, &err);
    if (r < 0)
        (void)!tell(NETWORK_FAILED, r, err.text);
    return r < 0; /* and the kernel ends everything else in this namespace */
}
