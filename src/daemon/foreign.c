/* SPDX-License-Identifier: Apache-2.0 */
/* See foreign.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/foreign.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLOSING_MAX 64

/* Has a copy of every fd until isolated has closed its own. */
static _Noreturn void child(const int gate[2])
{
    char byte = 0;
    (void)close(gate[1]);
    (void)!read(gate[0], &byte, 1);
    _exit(0);
}

/* Those that are at it. One that closes a file of a server that does not answer never ends. */
static pid_t closing[CLOSING_MAX];

/* What came while all of these were at it: all of it is for the next one that is free. */
static struct {
    int *fds;
    size_t n;
    size_t room;
} waiting;

/* In a process of its own, if there may be one more; else false, and they are still open. Where
 * none can be made they are closed here. */
static bool close_apart(const int *fds, size_t n)
{
    int gate[2];
    _cleanup_close_ int pidfd = -EBADF;
    pid_t *slot = closing;
    while (slot < closing + CLOSING_MAX && *slot != 0)
        slot++;
    if (slot == closing + CLOSING_MAX)
        return false;
    bool gated = pipe2(gate, O_CLOEXEC) == 0;
    pid_t pid = gated ? process_clone(0, -EBADF, &pidfd) : -errno;
    if (pid == 0)
        child(gate);
    if (pid > 0)
        *slot = pid;
    for (size_t i = 0; i < n; i++)
        fd_close(fds[i]);
    if (gated) {
        fd_close(gate[0]);
        fd_close(gate[1]);
    }
    return true;
}

/* Their owner sees the end of its sockets at once. */
static void wait_for_a_turn(const struct fd_list *list)
{
    if (waiting.n == 0)
        log_warning("files of callers wait to be closed: many others are slow to close");
    for (size_t i = 0; i < list->n; i++)
        if (shutdown(list->fds[i], SHUT_RDWR) < 0)
            errno = 0; /* it is no socket */
    if (waiting.room - waiting.n < list->n) {
        size_t room = 2 * waiting.room + SOCKET_FDS_MAX;
        int *fds = reallocarray(waiting.fds, room, sizeof(*fds));
        if (!fds) {
            log_warning("%zu files of a caller stay open: no memory", list->n);
            return;
        }
        waiting.fds = fds;
        waiting.room = room;
    }
    for (size_t i = 0; i < list->n; i++)
        waiting.fds[waiting.n++] = list->fds[i];
}

void foreign_reap(void)
{
    for (size_t i = 0; i < CLOSING_MAX; i++)
        if (closing[i] != 0 && waitpid(closing[i], NULL, WNOHANG) != 0)
            closing[i] = 0;
    if (waiting.n > 0 && close_apart(waiting.fds, waiting.n))
        waiting.n = 0;
}

void foreign_close(struct fd_list *list)
{
    if (list->n == 0)
        return;
    foreign_reap();
    if (!close_apart(list->fds, list->n))
        wait_for_a_turn(list);
    list->n = 0;
}
