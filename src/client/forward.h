/* SPDX-License-Identifier: Apache-2.0 */
/* A socket of the caller's own that stands for a server's: for servers whose socket only its
 * owner may connect to, where the sandbox cannot be made to look like the owner. Everything of
 * a connection passes, fds too; the server sees the caller. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <sys/types.h>

/* Whether the socket needs that: its mode shuts others out, and either it is not the caller's
 * and the caller's group's, or its file system cannot be id-mapped. */
bool forward_is_needed(int socket_fd);

/* The process that forwards. It ends, and the socket with it, when alive_fd is closed
 * everywhere: by forward_end, or because its starter ended. */
struct forward {
    pid_t pid; /* 0: none */
    int alive_fd;
};

/* Starts it for the server at an O_PATH socket. *ret_fd: O_PATH of the new socket, to which
 * everybody who reaches it may connect. */
int forward_start(int socket_fd, int *ret_fd, struct forward *ret,
                  struct error *err) _must_check_;

void forward_end(struct forward *forward);
