/* SPDX-License-Identifier: Apache-2.0 */
/* Published ports, before pasta listens there: see network.h. Runs as root in the machine's
 * network; whether the caller may have them has been decided. */
#include "network/network.h"

#include <arpa/inet.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

static socklen_t fill_address(const struct network_socket *wanted, struct sockaddr_storage *ret)
{
    if (wanted->is_v6) {
        struct sockaddr_in6 *address = (struct sockaddr_in6 *)ret;
        address->sin6_family = AF_INET6;
        address->sin6_port = htons(wanted->port);
        memcpy(&address->sin6_addr, wanted->address, 16);
        return sizeof(*address);
    }
    struct sockaddr_in *address = (struct sockaddr_in *)ret;
    address->sin_family = AF_INET;
    address->sin_port = htons(wanted->port);
    memcpy(&address->sin_addr, wanted->address, 4);
    return sizeof(*address);
}

static int try_socket(const struct network_socket *wanted)
{
    const int yes = 1;
    struct sockaddr_storage address = {0};
    socklen_t length = fill_address(wanted, &address);
    _cleanup_close_ int fd = socket(
        address.ss_family, (wanted->is_udp ? SOCK_DGRAM : SOCK_STREAM) | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return -errno;
    /* as pasta does: connections that have ended a moment ago do not count. With UDP two would
     * share the port */
    if (!wanted->is_udp && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &yes, sizeof(yes)) < 0)
        return -errno;
    if (wanted->is_v6 && setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &yes, sizeof(yes)) < 0)
        return -errno;
    return bind(fd, (struct sockaddr *)&address, length) < 0 ? -errno : 0;
}

int ports_check(const struct network_order *order, struct error *err)
{
    for (uint32_t i = 0; i < order->n_sockets; i++) {
        const struct network_socket *wanted = &order->sockets[i];
        char text[INET6_ADDRSTRLEN] = "";
        int r = try_socket(wanted);
        if (r == 0)
            continue;
        (void)inet_ntop(wanted->is_v6 ? AF_INET6 : AF_INET, wanted->address, text,
                        sizeof(text));
        const char *protocol = wanted->is_udp ? "udp" : "tcp";
        if (r == -EADDRINUSE)
            return fail(err, ERROR_BUSY, r,
                        "publish: port %u/%s of %s is in use; choose another, or end what "
                        "listens there",
                        wanted->port, protocol, text);
        if (r == -EADDRNOTAVAIL)
            return fail(err, ERROR_INVALID, r, "publish: %s is no address of this machine",
                        text);
        return fail(err, ERROR_SYSTEM, r, "publish: port %u/%s of %s: ", wanted->port, protocol,
                    text);
    }
    return 0;
}
