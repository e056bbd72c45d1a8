/* SPDX-License-Identifier: Apache-2.0 */
/* Messages with file descriptors over unix sockets. No privilege. Received fds are O_CLOEXEC
 * and belong to the caller; a message whose fds did not all arrive (MSG_CTRUNC) is an error and
 * its fds are closed. */
#pragma once

#include "base/error.h"

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* The most fds in one message: the kernel's limit (SCM_MAX_FD). */
#define SOCKET_FDS_MAX 253

/* fds as received or held for sending; owned until fd_list_clear. */
struct fd_list {
    size_t n;
    int fds[SOCKET_FDS_MAX];
};

#define _cleanup_fd_list_ _cleanup_(fd_list_clear)
void fd_list_clear(struct fd_list *list);

/* Appends a consumed fd; on -EMSGSIZE (full) it is closed. */
int fd_list_add(struct fd_list *list, int take_fd) _must_check_;

/* A pair of connected sockets of type SOCK_SEQPACKET or SOCK_STREAM. 0 or -errno. */
int socket_pair(int type, int ret[static 2]) _must_check_;

/* Nobody can send fds to it any more (SO_PASSRIGHTS, kernel 6.16): closing what a hostile peer
 * sends can hang. Without effect on older kernels. */
void socket_refuse_fds(int fd);

/* Sends one message; for a stream everything is sent, the fds with the first byte. Never raises
 * SIGPIPE. 0 or -errno. fds are borrowed. */
int socket_send(int fd, const void *data, size_t length, const int *fds,
                size_t n_fds) _must_check_;

/* The same with MSG_DONTWAIT, for packets: -EAGAIN where the queue is full. */
int socket_send_flags(int fd, const void *data, size_t length, const int *fds, size_t n_fds,
                      int flags) _must_check_;

/* Receives into data (size bytes) with flags (MSG_DONTWAIT or 0), appending the fds that came
 * to list. Returns the length, 0 at the end, -errno; -EMSGSIZE where a packet or its fds did
 * not fit. */
ssize_t socket_receive(int fd, void *data, size_t size, int flags,
                       struct fd_list *list) _must_check_;
/* The same, but what has come stays in the list where it fails: closing it may be the caller's
 * to think about. */
ssize_t socket_receive_all(int fd, void *data, size_t size, int flags,
                           struct fd_list *list) _must_check_;
