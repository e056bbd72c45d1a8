/* SPDX-License-Identifier: Apache-2.0 */
/* The inner init: what a foreign engine executes in its sandbox, as root there with the
 * capabilities that it has left, and with the filters that it has loaded. It starts the command
 * and tells init outside how that went; nothing else holds the command's stdio. */
#include "base/text.h"
#include "init/engine.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STDIO_FDS = 3, STDIO_FD_SPEC = 3, _STDIO_FDS };

static pid_t run(const struct fd_list *fds, struct error *err)
{
    const void *data = NULL;
    size_t length = 0;
    _cleanup_(start_clear) struct start start = {0};
    _cleanup_(account_clear) struct account account = {0};
    int r = memfd_map(fds->fds[STDIO_FD_SPEC], START_MAX, &data, &length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "inner init: ");
    r = start_decode(data, length, &start, err);
    if (r == 0)
        r = account_by_uid(start.uid, &account, err);
    const struct command command = {
        .start = &start, .account = &account, .stdio = fds->fds, .filter_fd = -EBADF};
    return r < 0 ? r : init_run_command(&command, err);
}

static pid_t begin(struct error *err)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    /* what was left to the engine is looked at, not trusted */
    if (prctl(PR_GET_SECCOMP) != SECCOMP_MODE_FILTER ||
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) != 1)
        return fail(err, ERROR_SYSTEM, EPERM, "the engine has loaded no system call filter");
    int r = message_receive(ENGINE_FD_SOCKET, &message, 0, &fds);
    if (r != 1 || message.type != MESSAGE_STDIO || fds.n != _STDIO_FDS)
        return fail(err, ERROR_PROTOCOL, r < 0 ? r : EPROTO, "inner init: lost init");
    return run(&fds, err);
}

static int tell_started(pid_t pid)
{
    const struct message started = {.type = MESSAGE_STARTED};
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    return pidfd < 0 ? pidfd : message_send(ENGINE_FD_SOCKET, &started, &pidfd, 1);
}

/* Orphans are pid 1's: the engine's, or this one's. */
static int wait_for(pid_t pid)
{
    int status = 0;
    pid_t ended = 0;
    do
        ended = waitpid(-1, &status, 0);
    while (ended >= 0 && ended != pid);
    return status;
}

int inner_main(void)
{
    struct error err = {0};
    (void)prctl(PR_SET_NAME, "isolate-inner");
    (void)umask(022);
    if (fcntl(ENGINE_FD_SOCKET, F_SETFD, FD_CLOEXEC) < 0 || close(ENGINE_FD_INNER) < 0 ||
        close_from(ENGINE_FD_FILTER) < 0)
        return 125;
    pid_t pid = begin(&err);
    if (pid < 0) {
        (void)!message_send_error(ENGINE_FD_SOCKET, 0, &err);
        return 125;
    }
    int r = tell_started(pid);
    int status = r < 0 ? 0 : wait_for(pid);
    const struct message exited = exit_message(status, false);
    if (r < 0 || message_send(ENGINE_FD_SOCKET, &exited, NULL, 0) < 0)
        return 125;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}
