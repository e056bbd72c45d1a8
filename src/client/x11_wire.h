/* SPDX-License-Identifier: Apache-2.0 */
/* As much of the X protocol (version 11, revision 0) as it takes to connect and to ask who else
 * may. The server is the caller's own, but is not trusted to answer, or to answer well. */
#pragma once

#include "client/xauth.h"

/* Connects to the X server at an O_PATH socket; cookie may be NULL: without one. A connected
 * fd, on which nothing is left to be read; -EACCES with what the server says where it does not
 * let us in. Blocks up to 10 s for each of its answers. */
int x11_connect(int socket_fd, const struct xauth_cookie *cookie,
                struct error *err) _must_check_;

/* Whether the server at socket_fd, to which fd is connected, lets every local user in without a
 * cookie: 1, or 0. Not seen is that of a server that also names users (xhost +si:localuser:…)
 * and has been started without -auth. */
int x11_is_open(int fd, int socket_fd, struct error *err) _must_check_;
