/* SPDX-License-Identifier: Apache-2.0 */
/* See network.h. Runs in isolated as root. isolate-network gets the sandbox's namespaces by fd
 * and sits in a cgroup below the sandbox's, so that the sandbox's limits hold for it and its
 * end is the sandbox's. What it says is believed no further than an error's text. */
#include "daemon/network.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/callers.h"
#include "daemon/child.h"
#include "daemon/pasta_argv.h"
#include "network/order.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/packet.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <arpa/inet.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define RESOLV_MAX 65536
#define PASTA_MAX  (8U << 20)
/* of the sandbox's ids, one that no passwd has: another user of the machine's than all others,
 * and than those of other sandboxes */
#define NETWORK_ID 65533

struct sandbox_network {
    struct sandbox *sandbox;
    pid_t pid;
    int pidfd;
    int link_fd;
    bool ready;
    sd_event_source *link_io;
    sd_event_source *pid_io;
};

_Static_assert(sizeof(((struct network_order *)0)->resolver) == NETWORK_ADDRESS_SIZE, "");
_Static_assert(sizeof(((struct network_order *)0)->bridge) ==
                   sizeof(((struct network *)0)->bridge),
               "");
_Static_assert(ELEMENTS(((struct network_order *)0)->sockets) == NETWORK_SOCKETS, "");

bool network_is_made(const struct network *network)
{
    return network->mode == NETWORK_NAT || network->mode == NETWORK_BRIDGE;
}

/* Before 2024-07 pasta lost the answers of UDP ports whose number is smaller in the sandbox,
 * and it does not always know its own version: an option that came a month later tells. */
static bool pasta_loses_answers(void)
{
    static const char option[] = "map-host-loopback";
    _cleanup_buffer_ struct buffer program = {0};
    return file_read_at(AT_FDCWD, NETWORK_PASTA, PASTA_MAX, &program) < 0 || !program.data ||
           !memmem(program.data, program.length, option, sizeof(option) - 1);
}

int network_require(const struct network *network, struct error *err)
{
    if (network->mode != NETWORK_NAT)
        return 0;
    if (access(NETWORK_PASTA, X_OK) < 0)
        return fail(err, ERROR_UNSUPPORTED, errno,
                    "network nat: %s is not installed; apt install passt", NETWORK_PASTA);
    for (uint32_t i = 0; i < network->n_ports; i++) {
        const struct network_port *port = &network->ports[i];
        if (port->udp && port->first < port->host_first && pasta_loses_answers())
            return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                        "publish: %s is of before 2024-08 and loses the answers of a UDP port "
                        "whose number is smaller in the sandbox; publish %u:%u/udp, or install "
                        "a newer passt",
                        NETWORK_PASTA, port->first, port->first);
    }
    return 0;
}

static void close_link(struct sandbox_network *network)
{
    network->link_io = sd_event_source_unref(network->link_io);
    network->link_fd = fd_close(network->link_fd);
}

/* False where it has not ended yet. */
static bool reap(struct sandbox_network *network)
{
    siginfo_t ended = {0};
    if (network->pidfd < 0)
        return true;
    if (waitid(P_PIDFD, (id_t)network->pidfd, &ended, WEXITED | WNOHANG) == 0 &&
        ended.si_pid == 0)
        return false;
    network->pid_io = sd_event_source_unref(network->pid_io);
    network->pidfd = fd_close(network->pidfd);
    return true;
}

void network_forget(struct sandbox *sandbox)
{
    struct sandbox_network *network = TAKE_PTR(sandbox->network);
    if (!network)
        return;
    close_link(network);
    network->sandbox = NULL;
    /* one that has not ended yet is reaped when it has */
    if (reap(network) || !network->pid_io)
        free(network);
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct sandbox_network *network = data;
    const struct sandbox *sandbox = network->sandbox;
    if (!reap(network))
        return 0;
    if (!sandbox)
        free(network);
    else if (network->ready && sandbox->state == SANDBOX_RUNNING && !sandbox->ending &&
             sandbox->request.network.mode == NETWORK_NAT)
        log_warning("sandbox %s: its network has ended before it", sandbox->body.record.id);
    return 0;
}

/* What it says, once. */
static int answer_of(struct sandbox_network *network, int received, const struct packet *packet,
                     struct error *err)
{
    if (received == 1 && packet->type == NETWORK_READY)
        return 0;
    if (received == 1 && packet->type == NETWORK_FAILED && packet->payload.data) {
        char text[ERROR_TEXT_MAX];
        text_escape(text, sizeof(text), packet->payload.data);
        return fail(err, error_code_of_errno(-packet->value), 0, "%s", text);
    }
    return fail(err, ERROR_SYSTEM, ECONNRESET,
                "network: isolate-network ended before the command started; nothing ran");
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct sandbox_network *network = data;
    struct sandbox *sandbox = network->sandbox;
    struct error err = {0};
    _cleanup_packet_ struct packet packet = {0};
    int r = packet_receive(fd, MSG_DONTWAIT, &packet);
    if (r == -EAGAIN)
        return 0;
    r = answer_of(network, r, &packet, &err);
    close_link(network);
    network->ready = r == 0;
    if (sandbox->ending || sandbox->state != SANDBOX_NETWORK)
        return 0;
    if (r == 0)
        r = sandbox_on_network(sandbox, &err);
    if (r < 0)
        sandbox_end_failed(sandbox, &err);
    return 0;
}

static void fill_sockets(const struct network *network, struct network_order *order)
{
    for (uint32_t i = 0; i < network->n_ports; i++) {
        const struct network_port *port = &network->ports[i];
        struct network_socket socket = {.is_udp = port->udp};
        socket.is_v6 = inet_pton(AF_INET, port->address, socket.address) != 1;
        if (socket.is_v6 && inet_pton(AF_INET6, port->address, socket.address) != 1)
            continue; /* it has been parsed before */
        for (unsigned k = 0; k < port->n && order->n_sockets < NETWORK_SOCKETS; k++) {
            socket.port = (uint16_t)(port->host_first + k);
            order->sockets[order->n_sockets++] = socket;
        }
    }
}

static void find_resolver(char ret[static NETWORK_ADDRESS_SIZE])
{
    _cleanup_buffer_ struct buffer text = {0};
    ret[0] = '\0';
    if (file_read_at(AT_FDCWD, "/etc/resolv.conf", RESOLV_MAX, &text) == 0 && text.data)
        resolv_conf_of(text.data, NULL, NULL, ret);
}

void network_arguments(const struct network *network, struct buffer *ret)
{
    char resolver[NETWORK_ADDRESS_SIZE];
    if (network->mode != NETWORK_NAT)
        return;
    find_resolver(resolver);
    pasta_arguments(network, *resolver, ret);
}

static void fill_nat(const struct sandbox *sandbox, struct network_order *order)
{
    const struct network *wanted = &sandbox->request.network;
    order->uid = sandbox->body.record.first_id + NETWORK_ID;
    order->flags = (network_low_port(wanted) ? NETWORK_LOW_PORTS : 0) |
                   (wanted->host_loopback ? NETWORK_HOST_LOOPBACK : 0);
    find_resolver(order->resolver);
    fill_sockets(wanted, order);
}

static void fill_bridge(const struct network *wanted, struct network_order *order)
{
    memcpy(order->bridge, wanted->bridge, sizeof(order->bridge));
    memcpy(order->address, wanted->address, sizeof(order->address));
    memcpy(order->gateway, wanted->gateway, sizeof(order->gateway));
    order->prefix = wanted->prefix;
}

static int send_order(const struct sandbox *sandbox, int link_fd, const int *fds,
                      struct error *err)
{
    const struct network *wanted = &sandbox->request.network;
    _cleanup_buffer_ struct buffer payload = {0};
    struct network_order *order = calloc(1, sizeof(*order));
    if (!order)
        return fail(err, ERROR_SYSTEM, ENOMEM, "network: ");
    if (wanted->mode == NETWORK_NAT)
        fill_nat(sandbox, order);
    else
        fill_bridge(wanted, order);
    buffer_append(&payload, order, sizeof(*order));
    if (wanted->mode == NETWORK_NAT)
        pasta_arguments(wanted, *order->resolver, &payload);
    free(order);
    struct packet packet = {.type = NETWORK_CONNECT, .fds = {.n = _NETWORK_FDS}};
    memcpy(packet.fds.fds, fds, _NETWORK_FDS * sizeof(*fds));
    int r = payload.failed ? -ENOMEM
                           : packet_send(link_fd, &packet, payload.data, payload.length, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "network: ") : 0;
}

static int launch(struct sandbox_network *network, int cgroup_fd, struct error *err)
{
    char path[PATH_MAX];
    char *const argv[] = {(char *)"isolate-network", NULL};
    char *const environment[] = {NULL};
    (void)snprintf(path, sizeof(path), "%s/isolate-network",
                   network->sandbox->body.daemon->libexec);
    const struct child_program program = {
        .what = "isolate-network",
        .argv = argv,
        .environment = environment,
        .path = path,
        .program_fd = -EBADF,
        .second_fd = -EBADF,
        .namespaces = CLONE_NEWPID | CLONE_NEWNS,
        .outlives = true,
        .cgroup_fd = cgroup_fd,
    };
    return child_start(&program, &network->pid, &network->pidfd, &network->link_fd, err);
}

static int watch(struct sandbox_network *network, struct error *err)
{
    sd_event *event = network->sandbox->body.daemon->event;
    int r =
        sd_event_add_io(event, &network->link_io, network->link_fd, EPOLLIN, on_link, network);
    if (r >= 0)
        r = sd_event_add_io(event, &network->pid_io, network->pidfd, EPOLLIN, on_end, network);
    if (r >= 0) /* what it said before its end comes first */
        r = sd_event_source_set_priority(network->pid_io, PRIORITY_ENDS);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "network: ") : 0;
}

static int start_in(struct sandbox *sandbox, int cgroup_fd, struct error *err)
{
    const struct engine_instance *instance = &sandbox->body.instance;
    struct sandbox_network *network = sandbox->network;
    char path[40];
    /* it is our child, so that the number is its own */
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/net", (int)instance->pid);
    _cleanup_close_ int user_fd = userns_open(instance->pid);
    _cleanup_close_ int net_fd = open(path, O_RDONLY | O_CLOEXEC);
    if (net_fd < 0 || user_fd < 0) {
        int r = net_fd < 0 ? -errno : user_fd;
        /* one that is about to end has none left; why it ends is what it said, and is read next
         */
        if (r == -ENOENT || r == -ESRCH)
            return 0;
        return fail(err, ERROR_SYSTEM, r, "network: the sandbox's namespaces: ");
    }
    const int fds[] = {[NETWORK_FD_USER] = user_fd,
                       [NETWORK_FD_NET] = net_fd,
                       [NETWORK_FD_INIT] = instance->pidfd,
                       [NETWORK_FD_CGROUP] = cgroup_fd};
    int r = launch(network, cgroup_fd, err);
    if (r == 0)
        r = send_order(sandbox, network->link_fd, fds, err);
    return r < 0 ? r : watch(network, err);
}

int network_start(struct sandbox *sandbox, struct error *err)
{
    struct sandbox_network *network = calloc(1, sizeof(*network));
    if (!network)
        return fail(err, ERROR_SYSTEM, ENOMEM, "network: ");
    *network = (struct sandbox_network){.sandbox = sandbox, .pidfd = -EBADF, .link_fd = -EBADF};
    sandbox->network = network;
    _cleanup_close_ int cgroup_fd = cgroup_create(sandbox->body.cgroup_fd, CGROUP_NETWORK);
    return cgroup_fd < 0 ? fail(err, ERROR_SYSTEM, cgroup_fd, "network: cgroup: ")
                         : start_in(sandbox, cgroup_fd, err);
}
