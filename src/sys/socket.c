/* SPDX-License-Identifier: Apache-2.0 */
/* Unix-socket messages with fds. Runs in every process; received bytes and fds are the peer's
 * and are only carried, never looked into. */
#include "sys/socket.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

void fd_list_clear(struct fd_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        list->fds[i] = fd_close(list->fds[i]);
    list->n = 0;
}

int fd_list_add(struct fd_list *list, int take_fd)
{
    if (list->n >= SOCKET_FDS_MAX) {
        fd_close(take_fd);
        return -EMSGSIZE;
    }
    list->fds[list->n++] = take_fd;
    return 0;
}

int socket_pair(int type, int ret[static 2])
{
    return socketpair(AF_UNIX, type | SOCK_CLOEXEC, 0, ret) < 0 ? -errno : 0;
}

void socket_refuse_fds(int fd)
{
    const int pass_rights = 83; /* SO_PASSRIGHTS, of <asm-generic/socket.h> since 6.16 */
    const int off = 0;
    if (setsockopt(fd, SOL_SOCKET, pass_rights, &off, sizeof(off)) < 0)
        errno = 0;
}

union fd_control {
    struct cmsghdr header;
    char data[CMSG_SPACE(sizeof(int) * SOCKET_FDS_MAX)];
};

int socket_send(int fd, const void *data, size_t length, const int *fds, size_t n_fds)
{
    return socket_send_flags(fd, data, length, fds, n_fds, 0);
}

int socket_send_flags(int fd, const void *data, size_t length, const int *fds, size_t n_fds,
                      int flags)
{
    union fd_control control;
    struct iovec part = {(void *)data, length};
    struct msghdr message = {.msg_iov = &part, .msg_iovlen = 1};
    if (n_fds > SOCKET_FDS_MAX)
        return -EMSGSIZE;
    if (n_fds > 0) {
        memset(&control, 0, sizeof(control));
        message.msg_control = &control;
        message.msg_controllen = CMSG_SPACE(sizeof(int) * n_fds);
        control.header.cmsg_level = SOL_SOCKET;
        control.header.cmsg_type = SCM_RIGHTS;
        control.header.cmsg_len = CMSG_LEN(sizeof(int) * n_fds);
        memcpy(CMSG_DATA(&control.header), fds, sizeof(int) * n_fds);
    }
    while (part.iov_len > 0) {
        /* not by way of musl, which takes 252 fds; all padding here is zero */
        ssize_t n = syscall(SYS_sendmsg, fd, &message, MSG_NOSIGNAL | flags);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        message.msg_control = NULL;
        message.msg_controllen = 0;
        part.iov_base = (char *)part.iov_base + n;
        part.iov_len -= (size_t)n;
    }
    return 0;
}

static int control_collect(struct msghdr *message, struct fd_list *list)
{
    int r = 0;
    for (struct cmsghdr *c = CMSG_FIRSTHDR(message); c; c = CMSG_NXTHDR(message, c)) {
        if (c->cmsg_level != SOL_SOCKET || c->cmsg_type != SCM_RIGHTS)
            continue;
        size_t n = (c->cmsg_len - CMSG_LEN(0)) / sizeof(int);
        for (size_t i = 0; i < n; i++) {
            int fd = -EBADF;
            memcpy(&fd, CMSG_DATA(c) + i * sizeof(int), sizeof(int));
            int added = fd_list_add(list, fd);
            r = r < 0 ? r : added;
        }
    }
    return r;
}

ssize_t socket_receive_all(int fd, void *data, size_t size, int flags, struct fd_list *list)
{
    union fd_control control;
    struct iovec part = {data, size};
    struct msghdr message = {
        .msg_iov = &part,
        .msg_iovlen = 1,
        .msg_control = &control,
        .msg_controllen = sizeof(control),
    };
    ssize_t n = 0;
    do
        n = recvmsg(fd, &message, flags | MSG_CMSG_CLOEXEC);
    while (n < 0 && errno == EINTR);
    if (n < 0)
        return -errno;
    int r = control_collect(&message, list);
    if (r == 0 && (message.msg_flags & (MSG_TRUNC | MSG_CTRUNC)))
        r = -EMSGSIZE;
    return r < 0 ? r : n;
}

ssize_t socket_receive(int fd, void *data, size_t size, int flags, struct fd_list *list)
{
    ssize_t n = socket_receive_all(fd, data, size, flags, list);
    if (n < 0)
        fd_list_clear(list);
    return n;
}
