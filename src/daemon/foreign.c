/* SPDX-License-Identifier: Apache-2.0 */
/* See foreign.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/foreign.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
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

void foreign_reap(void)
{
    for (size_t i = 0; i < CLOSING_MAX; i++)
        if (closing[i] != 0 && waitpid(closing[i], NULL, WNOHANG) != 0)
            closing[i] = 0;
}

/* Their owner sees the end of its sockets all the same. */
static void leave_open(struct fd_list *list)
{
    log_warning("%zu files of a caller stay open: too many of others' do not close", list->n);
    for (size_t i = 0; i < list->n; i++)
        if (shutdown(list->fds[i], SHUT_RDWR) < 0)
            errno = 0; /* it is no socket */
    list->n = 0;
}

void foreign_close(struct fd_list *list)
{
    int gate[2];
    if (list->n == 0)
        return;
    if (pipe2(gate, O_CLOEXEC) < 0) {
        fd_list_clear(list);
        return;
    }
    foreign_reap();
    pid_t *slot = closing;
    while (slot < closing + CLOSING_MAX && *slot != 0)
        slot++;
    _cleanup_close_ int pidfd = -EBADF;
    bool full = slot == closing + CLOSING_MAX;
    pid_t pid = full ? -EAGAIN : process_clone(0, -EBADF, &pidfd);
    if (pid == 0)
        child(gate);
    if (pid > 0)
        *slot = pid;
    if (full)
        leave_open(list);
    else
        fd_list_clear(list);
    fd_close(gate[0]);
    fd_close(gate[1]);
}
