/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-nursery: where sandboxes are cloned. Runs as root, as a child of isolated, in a mount
 * namespace that shows proc and sysfs and nothing else: a clone copies every mount, and holds
 * on to every one that it copies. Its orders come from isolated's builder on fd 3; the
 * sandboxes it makes are isolated's children. */
#include "base/text.h"
#include "engine/native_clone.h"
#include "sys/packet.h"

#include <string.h>
#include <sys/prctl.h>

#define LINK_FD 3

static int answer(const struct native_child *child, int result, const struct error *err)
{
    struct packet packet = {
        .type = NURSERY_CLONE, .id = (uint32_t)child->pid, .value = result < 0 ? result : 0};
    const int fds[] = {child->pidfd, child->userns_fd};
    for (size_t i = 0; i < ELEMENTS(fds) && fds[i] >= 0; i++)
        packet.fds.fds[packet.fds.n++] = fds[i];
    return packet_send(LINK_FD, &packet, err->text, strlen(err->text), 0);
}

static int serve(void)
{
    struct error err = {0};
    struct native_child child = {.pidfd = -EBADF, .userns_fd = -EBADF};
    _cleanup_packet_ struct packet packet = {0};
    int r = packet_receive(LINK_FD, 0, &packet);
    if (r <= 0)
        return r;
    const int *fds = packet.fds.fds;
    const struct native_order order = {
        .first_id = packet.id,
        .host_network = packet.value & NURSERY_HOST_NETWORK,
        .host_ids = packet.value & NURSERY_HOST_IDS,
        .sibling = true,
        .cgroup_fd = fds[NURSERY_FD_CGROUP],
        .park_fd = fds[NURSERY_FD_PARK],
        .init_fd = fds[NURSERY_FD_INIT],
        .null_fd = fds[NURSERY_FD_NULL],
    };
    r = packet.fds.n == _NURSERY_FDS
            ? native_clone(&order, &child, &err)
            : fail(&err, ERROR_PROTOCOL, EPROTO, "nursery: an order without its fds");
    r = answer(&child, r, &err);
    fd_close(child.pidfd);
    fd_close(child.userns_fd);
    return r < 0 ? r : 1;
}

int main(void)
{
    int r = 0;
    (void)prctl(PR_SET_NAME, "isolate-nursery");
    do
        r = serve();
    while (r > 0);
    return r < 0;
}
