/* SPDX-License-Identifier: Apache-2.0 */
/* See hook_run.h. Runs as the caller. Between this process and the hook is a guard, the leader
 * of the hook's session: the kernel tells it when this process dies, however that was, and it
 * then kills all of the session's first process group. */
#include "client/hook_run.h"

#include "base/cleanup.h"
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define GRACE_MS 5000
#define ORPHANED SIGALRM /* what tells the guard */

bool hook_signal_ends(int number)
{
    return number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
}

static void set(const char *name, const char *value)
{
    if (*value ? setenv(name, value, 1) < 0 : unsetenv(name) < 0)
        _exit(125);
}

static void set_environment(const struct hook *hook, pid_t client)
{
    char root[PATH_MAX];
    char status[16] = "";
    (void)snprintf(root, sizeof(root), "%s", hook->root);
    /* by the client's number, because many programs close what fds they inherit; behind the
     * link a dot, because others do not follow one that is the last of a path */
    if (hook->view_fd >= 0)
        (void)snprintf(root, sizeof(root), "/proc/%d/fd/%d/.", (int)client, hook->view_fd);
    if (hook->status >= 0)
        (void)snprintf(status, sizeof(status), "%d", hook->status);
    set("ROOTFS", root);
    set("ISOLATE_HOOK", hook->when);
    set("ISOLATE_ID", hook->id);
    set("ISOLATE_NAME", hook->name);
    set("ISOLATE_TEMPLATE", hook->template_name);
    set("ISOLATE_STATUS", status);
}

static _Noreturn void execute(const struct hook *hook)
{
    const char *const argv[] = {"sh", "-c", hook->command, NULL};
    int null_fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
    (void)signal(ORPHANED, SIG_DFL);
    (void)signal(SIGPIPE, SIG_DFL);
    if (null_fd < 0 || dup2(null_fd, STDIN_FILENO) < 0 ||
        dup2(STDERR_FILENO, STDOUT_FILENO) < 0 ||
        sigprocmask(SIG_SETMASK, hook->mask, NULL) < 0)
        _exit(125);
    (void)execv("/bin/sh", (char *const *)argv);
    _exit(127);
}

static void on_orphaned(int number)
{
    (void)kill(0, SIGKILL);
}

/* Ends as the hook does. */
static _Noreturn void repeat(int wait_status)
{
    const struct rlimit no_core = {0, 0};
    sigset_t all;
    if (WIFEXITED(wait_status))
        _exit(WEXITSTATUS(wait_status));
    (void)setrlimit(RLIMIT_CORE, &no_core);
    (void)signal(WTERMSIG(wait_status), SIG_DFL);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_UNBLOCK, &all, NULL);
    /* raise(3) would go to whom the C library takes this process for, which a clone3(2) of our
     * own has not told it */
    (void)kill(getpid(), WTERMSIG(wait_status));
    _exit(125);
}

static _Noreturn void guard(const struct hook *hook, pid_t client, int ready_fd)
{
    sigset_t orphaned;
    (void)sigemptyset(&orphaned);
    (void)sigaddset(&orphaned, ORPHANED);
    (void)signal(ORPHANED, on_orphaned);
    if (setsid() < 0 || prctl(PR_SET_PDEATHSIG, ORPHANED) < 0 ||
        sigprocmask(SIG_UNBLOCK, &orphaned, NULL) < 0 || getppid() != client)
        _exit(125);
    set_environment(hook, client);
    pid_t pid = fork();
    if (pid == 0)
        execute(hook);
    if (pid < 0 || write(ready_fd, "", 1) != 1)
        _exit(125);
    (void)close(ready_fd);
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            _exit(125);
    repeat(status);
}

struct watch {
    const struct hook *hook;
    pid_t pid; /* of the guard, and of its process group */
    int pidfd;
    uint64_t kill_ms; /* when to kill it; 0: never */
    struct hook_end *end;
};

static void on_signal(struct watch *watch)
{
    struct signalfd_siginfo info;
    if (read(watch->hook->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (number == SIGTSTP) {
        (void)kill(-watch->pid, SIGSTOP);
        (void)raise(SIGSTOP);
        (void)kill(-watch->pid, SIGCONT);
    }
    if (!hook_signal_ends(number))
        return;
    bool first = watch->end->interrupted_by == 0;
    if (first)
        watch->end->interrupted_by = number;
    (void)kill(-watch->pid, first ? number : SIGKILL);
    watch->kill_ms = time_now_ms() + GRACE_MS;
}

static void wait_for(struct watch *watch)
{
    struct pollfd fds[] = {
        {.fd = watch->pidfd, .events = POLLIN},
        {.fd = watch->hook->signal_fd, .events = POLLIN},
        {.fd = watch->hook->peer_fd, .events = POLLIN | POLLRDHUP},
    };
    while (!fds[0].revents) {
        uint64_t now = time_now_ms();
        bool late = watch->kill_ms > 0 && now >= watch->kill_ms;
        int timeout = watch->kill_ms == 0 || late ? -1 : (int)(watch->kill_ms - now);
        if (late || fds[2].revents)
            (void)kill(-watch->pid, SIGKILL);
        if (fds[2].revents) {
            watch->end->lost = true;
            fds[2].fd = -1;
        }
        if (poll(fds, ELEMENTS(fds), timeout) < 0 && errno != EINTR)
            return;
        if (fds[1].revents)
            on_signal(watch);
    }
}

/* The guard is there, with a session of its own, or an error. */
static int start(const struct hook *hook, pid_t *ret_pid, int *ret_pidfd)
{
    int ready[2];
    char byte = 0;
    pid_t client = getpid();
    if (pipe2(ready, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int ours = ready[0];
    _cleanup_close_ int theirs = ready[1];
    pid_t pid = process_clone(0, -EBADF, ret_pidfd);
    if (pid == 0)
        guard(hook, client, theirs);
    if (pid < 0)
        return pid;
    *ret_pid = pid;
    fd_closep(&theirs);
    return read(ours, &byte, 1) < 0 ? -errno : 0;
}

struct hook_end hook_run(const struct hook *hook)
{
    struct hook_end end = {.wait_status = -1};
    struct watch watch = {.hook = hook, .end = &end};
    _cleanup_close_ int pidfd = -EBADF;
    end.problem = start(hook, &watch.pid, &pidfd);
    if (watch.pid <= 0)
        return end;
    watch.pidfd = pidfd;
    wait_for(&watch);
    if (end.interrupted_by || end.lost) /* before its number may be another's */
        (void)kill(-watch.pid, SIGKILL);
    while (waitpid(watch.pid, &end.wait_status, 0) < 0 && errno == EINTR)
        continue;
    end.ok = end.wait_status == 0 && end.interrupted_by == 0 && !end.lost;
    return end;
}

void hook_end_text(const struct hook_end *end, char *out, size_t size)
{
    if (end->wait_status == -1)
        (void)snprintf(out, size, "cannot be started: %s", strerror(-end->problem));
    else if (end->interrupted_by)
        (void)snprintf(out, size, "was interrupted");
    else if (WIFSIGNALED(end->wait_status))
        (void)snprintf(out, size, "was killed by signal %d", WTERMSIG(end->wait_status));
    else
        (void)snprintf(out, size, "ended with status %d%s", WEXITSTATUS(end->wait_status),
                       WEXITSTATUS(end->wait_status) == 126   ? " (it cannot be executed)"
                       : WEXITSTATUS(end->wait_status) == 127 ? " (there is no such command)"
                                                              : "");
}
