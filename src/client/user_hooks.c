/* SPDX-License-Identifier: Apache-2.0 */
/* See user_hooks.h. Runs as the caller, who is not root. */
#include "client/user_hooks.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "client/hook_run.h"
#include "client/original.h"
#include "sys/process.h"

#include <poll.h>
#include <stdio.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

struct user_hooks {
    const char *root;
    int signal_fd;
    sigset_t mask; /* before we blocked ours */
};

static const int watched[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGTSTP};

/* What the caller ignores is nobody's, here as elsewhere. */
static int block_signals(struct user_hooks *hooks)
{
    sigset_t set;
    struct sigaction inherited;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTS(watched); i++)
        if (sigaction(watched[i], NULL, &inherited) < 0 || inherited.sa_handler != SIG_IGN)
            (void)sigaddset(&set, watched[i]);
    if (sigprocmask(SIG_BLOCK, &set, &hooks->mask) < 0)
        return -errno;
    hooks->signal_fd = signalfd(-1, &set, SFD_CLOEXEC);
    return hooks->signal_fd < 0 ? -errno : 0;
}

static struct hook_end run_hook(const struct user_hooks *hooks, const char *command, int status,
                                char *what, size_t size)
{
    struct hook hook = {
        .when = status < 0 ? "pre" : "post",
        .command = command,
        .view_fd = -EBADF,
        .status = status,
        .signal_fd = hooks->signal_fd,
        .peer_fd = -EBADF,
        .mask = &hooks->mask,
    };
    (void)snprintf(hook.root, sizeof(hook.root), "%s", hooks->root);
    (void)snprintf(hook.template_name, sizeof(hook.template_name), "%s", hooks->root);
    struct hook_end end = hook_run(&hook);
    hook_end_text(&end, what, size);
    return end;
}

static int run_before(const struct user_hooks *hooks, const char *command)
{
    char what[128];
    struct hook_end end = run_hook(hooks, command, -1, what, sizeof(what));
    if (end.ok)
        return 0;
    log_error("the hook before the start %s; the command was not started", what);
    return end.interrupted_by ? 128 + end.interrupted_by : 125;
}

/* What comes from the terminal has gone to the child as well. */
static void pass_on(const struct user_hooks *hooks, int pidfd)
{
    struct signalfd_siginfo info;
    if (read(hooks->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (info.ssi_code != SI_KERNEL)
        (void)!pidfd_signal(pidfd, number);
    if (number == SIGTSTP)
        (void)raise(SIGSTOP);
}

static int wait_for(const struct user_hooks *hooks, pid_t pid, int pidfd)
{
    struct pollfd fds[] = {
        {.fd = pidfd, .events = POLLIN},
        {.fd = hooks->signal_fd, .events = POLLIN},
    };
    while (!fds[0].revents && (poll(fds, ELEMENTS(fds), -1) >= 0 || errno == EINTR))
        if (fds[1].revents)
            pass_on(hooks, pidfd);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return 125;
    return WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
}

static int run_between(struct user_hooks *hooks, const char *after, int (*start)(void *data),
                       void *data)
{
    char what[128];
    _cleanup_close_ int pidfd = -EBADF;
    (void)fflush(stderr);
    pid_t pid = fork(); /* it goes on in C, which has to know of it */
    if (pid == 0) {
        (void)sigprocmask(SIG_SETMASK, &hooks->mask, NULL);
        _exit(start(data));
    }
    pidfd = pid < 0 ? -errno : pidfd_open_pid(pid);
    if (pidfd < 0) {
        log_error("start the command: %s", strerror(-pidfd));
        if (pid > 0)
            (void)kill(pid, SIGKILL);
        return 125;
    }
    int status = wait_for(hooks, pid, pidfd);
    if (!run_hook(hooks, after, status, what, sizeof(what)).ok)
        log_warning("the hook after the end %s; the exit status is the command's", what);
    return status;
}

int user_hooks_run(const char *root, int (*start)(void *data), void *data)
{
    const char *before = original_hook(true);
    const char *after = original_hook(false);
    struct user_hooks hooks = {.root = root, .signal_fd = -EBADF};
    if (!before && !after)
        return start(data);
    int r = block_signals(&hooks);
    if (r < 0) {
        log_error("signals: %s", strerror(-r));
        return 125;
    }
    int status = before ? run_before(&hooks, before) : 0;
    if (status == 0 && after) {
        status = run_between(&hooks, after, start, data);
    } else if (status == 0) {
        (void)sigprocmask(SIG_SETMASK, &hooks.mask, NULL);
        status = start(data);
    }
    fd_close(hooks.signal_fd);
    return status;
}
