/* SPDX-License-Identifier: Apache-2.0 */
/* See child.h. Runs in isolated as root, and in its child until that executes something; takes
 * no outside input. */
#include "daemon/child.h"

#include "base/cleanup.h"
#include "sys/process.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#define OUT_OF_THE_WAY 16 /* of the numbers that the program finds */

/* The program's fds get their numbers, everything else is closed. *program_fd gets a number of
 * its own, and is closed by the exec. */
static int place_fds(int link_fd, int second_fd, int *program_fd)
{
    int next = CHILD_LINK_FD;
    if (dup2(link_fd, next++) < 0)
        return -errno;
    if (second_fd >= 0 && dup2(second_fd, next++) < 0)
        return -errno;
    if (*program_fd >= 0 && (*program_fd = dup3(*program_fd, next++, O_CLOEXEC)) < 0)
        return -errno;
    return close_from(next);
}

static int move_fd(int fd)
{
    return fd >= 0 ? fcntl(fd, F_DUPFD, OUT_OF_THE_WAY) : -EBADF;
}

/* Between clone and exec. */
static _Noreturn void child(const struct child_program *program, int link_fd)
{
    sigset_t none;
    if (!program->outlives)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    /* before any limit is set on their numbers */
    link_fd = move_fd(link_fd);
    int second_fd = move_fd(program->second_fd);
    int program_fd = program->path ? -EBADF : move_fd(program->program_fd);
    if (link_fd < 0 || (program->enter && program->enter(program->data) < 0) ||
        place_fds(link_fd, second_fd, &program_fd) < 0)
        _exit(1);
    if (!program->outlives)
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL); /* a change of ids clears it */
    if (program->path)
        (void)execve(program->path, program->argv, program->environment);
    else
        (void)!exec_fd(program_fd, program->argv, program->environment);
    _exit(1);
}

int child_start(const struct child_program *program, pid_t *ret_pid, int *ret_pidfd,
                int *ret_link_fd, struct error *err)
{
    int pair[2];
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "%s: ", program->what);
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    pid_t pid = process_clone(program->namespaces,
                              program->outlives ? program->cgroup_fd : -EBADF, ret_pidfd);
    if (pid == 0)
        child(program, theirs);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, pid, "%s: ", program->what);
    *ret_pid = pid;
    *ret_link_fd = TAKE_FD(ours);
    return 0;
}
