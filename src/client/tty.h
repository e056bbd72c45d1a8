/* SPDX-License-Identifier: Apache-2.0 */
/* The caller's terminal: raw while a pty is relayed, and put back whatever happens. Runs as the
 * caller. Source: termios(3), ioctl_tty(2). */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <termios.h>

struct tty {
    bool raw; /* saved is valid and must be restored */
    int fd;
    struct termios saved;
};

/* Makes the terminal at fd raw; nothing happens where it is none. */
int tty_make_raw(struct tty *tty, int fd) _must_check_;
void tty_restore(struct tty *tty);

/* The caller's stdio as it was: without a pty the command has the very same open files, and may
 * leave them non-blocking or a terminal without echo. Restores only what has changed. */
struct stdio_state {
    int flags[3];
    bool is_tty[3];
    struct termios termios[3];
};
void stdio_save(struct stdio_state *state);
void stdio_restore(const struct stdio_state *state);

/* Gives the pty the size of the first of fds 0, 1 and 2 that is a terminal. */
void tty_copy_size(int pty);

/* Whether fd is the master of a pty, which is what init must have sent. */
bool tty_is_master(int fd);
