/* SPDX-License-Identifier: Apache-2.0 */
/* See foreign.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/foreign.h"

#include "base/cleanup.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <sys/wait.h>
#include <unistd.h>

/* Has a copy of every fd until isolated has closed its own. */
static _Noreturn void child(const int gate[2])
{
    char byte = 0;
    (void)close(gate[1]);
    (void)!read(gate[0], &byte, 1);
    _exit(0);
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
    _cleanup_close_ int pidfd = -EBADF;
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid == 0)
        child(gate);
    fd_list_clear(list);
    fd_close(gate[0]);
    fd_close(gate[1]);
    if (pid > 0)
        (void)waitpid(pid, NULL, 0);
}
