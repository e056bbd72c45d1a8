/* SPDX-License-Identifier: Apache-2.0 */
/* The command of a detached sandbox has pipes, or a terminal, whose other ends are
 * here: what it writes goes into the log, what attached clients send goes to it. */
#pragma once

#include "base/error.h"
#include "spec/message.h"
#include "spec/start.h"

#include <poll.h>
#include <stdbool.h>
#include <sys/types.h>

struct log_ring;

#define ATTACHED_MAX   8
#define DETACHED_CHUNK 4096

struct attached {
    int control_fd; /* -EBADF: free */
    int input_fd;   /* its stdin; -EBADF: none, or ended */
};

struct detached {
    struct log_ring *log;      /* NULL: the sandbox is not detached */
    int output_fds[2];         /* stdout and stderr, or the terminal's master and nothing */
    int stdin_fd;              /* pipe or master; -EBADF: /dev/null */
    char held[DETACHED_CHUNK]; /* of a client's, for it */
    size_t n_held;
    struct attached attached[ATTACHED_MAX];
};
void detached_init(struct detached *detached);
/* Makes the command's stdio. */
int detached_open(struct detached *detached, const struct start *start, int log_fd,
                  int ret_stdio[static 3], struct error *err) _must_check_;
/* One more client; consumes control_fd. */
void detached_attach(struct detached *detached, int take_control_fd, bool with_input);
/* Adds what is to be waited for (at most DETACHED_POLL_MAX). */
#define DETACHED_POLL_MAX (3 + 2 * ATTACHED_MAX)
size_t detached_poll(const struct detached *detached, struct pollfd *fds);
/* Whom signals are for: a command, or an init, to which what ends a command says that it is to
 * shut down. */
struct addressee {
    pid_t pid;
    bool is_init;
};

/* Handles what happened, of the fds that detached_poll gave. signal_to: of clients. */
void detached_serve(struct detached *detached, const struct pollfd *fds, size_t n,
                    struct addressee signal_to);
/* The command has ended: the rest of its output, the end of the log, the word to all. */
void detached_end(struct detached *detached, const struct message *exited);
