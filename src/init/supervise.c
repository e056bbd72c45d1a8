/* SPDX-License-Identifier: Apache-2.0 */
/* While the command runs: reap every orphan, forward the client's signals, end everything when
 * the command or the client ends or the time is over. Runs as root of the sandbox's user
 * namespace; the client is hostile, and so is every process beside this one. */
#include "init/init.h"
#include "sys/process.h"

#include <poll.h>
#include <signal.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define KILL_AFTER_MS 10000 /* between TERM and KILL, when the time is over */

struct supervisor {
    pid_t command;
    int control_fd;
    uint64_t deadline_ms; /* 0: none */
    bool timed_out;
};

static void on_signal(const struct supervisor *supervisor, int signal_number)
{
    if (signal_number < 1 || signal_number > SIGRTMAX)
        return;
    /* its group: without a terminal, all that a terminal would have reached; with one of its
     * own, what is typed there goes to the foreground group by the kernel's hand */
    if (kill(-supervisor->command, signal_number) < 0)
        (void)kill(supervisor->command, signal_number);
}

/* False when the client is gone. */
static bool on_control(const struct supervisor *supervisor)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(supervisor->control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return true;
    if (r <= 0)
        return false;
    if (message.type == MESSAGE_SIGNAL)
        on_signal(supervisor, message.value);
    return true;
}

/* Reaps whatever ended; true when the command did, with its wait status. */
static bool reap(const struct supervisor *supervisor, int *ret_status)
{
    bool ended = false;
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return ended;
        if (pid == supervisor->command) {
            *ret_status = status;
            ended = true;
        }
    }
}

static void tell_end(const struct supervisor *supervisor, int status)
{
    enum exit_kind kind = supervisor->timed_out ? EXIT_KIND_TIMEOUT
                          : WIFSIGNALED(status) ? EXIT_KIND_SIGNALED
                                                : EXIT_KIND_EXITED;
    int detail = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status);
    if (message_send_simple(supervisor->control_fd, MESSAGE_EXITED, (int32_t)kind, detail) < 0)
        return; /* the client is gone: nobody asks any more */
}

/* Milliseconds until the next deadline for poll; acts on one that has passed. */
static int watch_clock(struct supervisor *supervisor)
{
    if (supervisor->deadline_ms == 0)
        return -1;
    uint64_t now = time_now_ms();
    if (now >= supervisor->deadline_ms) {
        (void)kill(-1, supervisor->timed_out ? SIGKILL : SIGTERM);
        (void)kill(-1, SIGCONT);
        supervisor->deadline_ms = now + (supervisor->timed_out ? 1000 : KILL_AFTER_MS);
        supervisor->timed_out = true;
    }
    uint64_t left = supervisor->deadline_ms - now;
    return left > 60000 ? 60000 : (int)left;
}

void init_supervise(pid_t command, int control_fd, uint64_t timeout_ms)
{
    struct supervisor supervisor = {
        .command = command,
        .control_fd = control_fd,
        .deadline_ms = timeout_ms ? time_now_ms() + timeout_ms : 0,
    };
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    _cleanup_close_ int signals = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    struct pollfd fds[] = {
        {.fd = signals, .events = POLLIN},
        {.fd = control_fd, .events = POLLIN},
    };
    for (;;) {
        int status = 0;
        if (reap(&supervisor, &status)) {
            tell_end(&supervisor, status);
            return;
        }
        int n = poll(fds, ELEMENTS(fds), watch_clock(&supervisor));
        if (n <= 0)
            continue;
        struct signalfd_siginfo info;
        if ((fds[0].revents & POLLIN) && read(signals, &info, sizeof(info)) < 0)
            continue;
        if ((fds[1].revents & (POLLIN | POLLHUP | POLLERR)) && !on_control(&supervisor))
            return; /* exit of pid 1 kills the whole sandbox */
    }
}
