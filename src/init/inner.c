/* SPDX-License-Identifier: Apache-2.0 */
/* The inner init: what a foreign engine executes in its sandbox, as root there with the
 * capabilities that it has left. It confines itself, and starts the
 * commands that init asks for and tells it how that went; nothing else holds their stdio. It
 * ends with the first one, and the engine with it. Where the first one is the template's own
 * init, that takes its place as process 1, and it goes on as a child of that one, which may end
 * it: then there are no more commands. */
#include "base/text.h"
#include "init/engine.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

enum { STDIO_FD_SPEC = 3, STDIO_FD_FILTER, _STDIO_FDS, STDIO_FD_ROOT = _STDIO_FDS };

struct child {
    pid_t pid; /* 0: free */
    uint32_t serial;
};

struct inner {
    struct child children[EXECS_MAX + 1];
    int signals;
    int status; /* of the first one, once it has ended */
    bool ended;
    struct inner_filters filters;
    struct error problem; /* of what was done before there was an order */
};

static int tell_started(uint32_t serial, pid_t pid, int32_t value)
{
    const struct message started = {.type = MESSAGE_STARTED, .serial = serial, .value = value};
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    return pidfd < 0 ? pidfd : message_send(ENGINE_FD_SOCKET, &started, &pidfd, 1);
}

static int watch_signals(int fd, bool term)
{
    sigset_t watched;
    (void)sigemptyset(&watched);
    (void)sigaddset(&watched, SIGCHLD);
    if (term)
        (void)sigaddset(&watched, SIGTERM);
    int r = signalfd(fd, &watched, SFD_CLOEXEC | SFD_NONBLOCK);
    return r < 0 ? -errno : r;
}

/* Returns in the child that goes on, if the command lives that long: what is announced counts
 * as started unless FAILED follows. Its parent ends all that it finds when it shuts down, and
 * waits for the end of each: TERM is obeyed, but not between a command and the word of it. */
static pid_t become(const struct inner *inner, const struct command *command, struct error *err)
{
    int r = tell_started(0, getpid(), ENGINE_STARTED_ANNOUNCED);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "inner init: tell of the start: ");
    pid_t pid = init_become_command(command, err);
    r = watch_signals(inner->signals, true);
    return pid < 0 || r >= 0 ? pid : fail(err, ERROR_SYSTEM, r, "inner init: signals: ");
}

static pid_t run(const struct inner *inner, const struct fd_list *fds,
                 const struct message *message, struct error *err)
{
    _cleanup_mapping_ struct mapping spec = {0};
    _cleanup_(start_clear) struct start start = {0};
    _cleanup_(account_clear) struct account account = {0};
    int r = memfd_map(fds->fds[STDIO_FD_SPEC], START_MAX, &spec.data, &spec.length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "inner init: ");
    r = start_decode(spec.data, spec.length, &start, err);
    if (r == 0 && message->serial == 0)
        r = inner_confine(&start, &inner->filters, (enum engine_late)message->value,
                          fds->n > _STDIO_FDS ? fds->fds[STDIO_FD_ROOT] : -EBADF, err);
    if (r == 0)
        r = account_by_uid(start.uid, &account, err);
    const struct command command = {
        .start = &start,
        .account = &account,
        .stdio = fds->fds,
        .filter_fd = fds->fds[STDIO_FD_FILTER],
        .early_filters_loaded = true,
        .patience_ms = message->serial > 0 ? EXEC_PATIENCE_MS : 0,
    };
    if (r < 0)
        return r;
    return message->serial == 0 && (start.flags & START_BOOT) ? become(inner, &command, err)
                                                              : init_run_command(&command, err);
}

static struct child *free_child(struct inner *inner)
{
    for (size_t i = 0; i < ELEMENTS(inner->children); i++)
        if (inner->children[i].pid == 0)
            return &inner->children[i];
    return NULL;
}

static pid_t start(struct inner *inner, struct child *child, const struct message *message,
                   const struct fd_list *fds, struct error *err)
{
    if (!child)
        return fail(err, ERROR_BUSY, EAGAIN, "inner init: too many commands");
    size_t n_fds = _STDIO_FDS + (message->value == ENGINE_LATE_ROOT);
    if (message->type != MESSAGE_STDIO || fds->n != n_fds)
        return fail(err, ERROR_PROTOCOL, EPROTO, "inner init: an order without its fds");
    pid_t pid = run(inner, fds, message, err);
    if (pid > 0)
        *child = (struct child){pid, message->serial};
    return pid;
}

/* 0: init is gone. All that is seen here but this is the commands'. */
static int on_order(struct inner *inner)
{
    struct error err = {0};
    struct message message = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(ENGINE_FD_SOCKET, &message, 0, &fds);
    if (r <= 0)
        return r;
    if (message.type == MESSAGE_SIGNAL) {
        (void)kill(-1, message.value);
        (void)kill(-1, SIGCONT);
        return 1;
    }
    err = inner->problem;
    pid_t pid = err.code == ERROR_NONE ? start(inner, free_child(inner), &message, &fds, &err)
                                       : -err.errnum;
    if (pid < 0)
        return message_send_error(ENGINE_FD_SOCKET, message.serial, &err) < 0 ? -EPIPE : 1;
    r = tell_started(message.serial, pid, 0);
    return r < 0 ? r : 1;
}

/* Of orphans, too, where it is pid 1. */
static int reap(struct inner *inner)
{
    for (;;) {
        int status = 0;
        int r = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return 0;
        for (size_t i = 0; i < ELEMENTS(inner->children) && r == 0; i++) {
            struct child *child = &inner->children[i];
            if (child->pid != pid)
                continue;
            struct message exited = exit_message(status, 0);
            exited.serial = child->serial;
            inner->ended = inner->ended || child->serial == 0;
            inner->status = child->serial == 0 ? status : inner->status;
            child->pid = 0;
            r = message_send(ENGINE_FD_SOCKET, &exited, NULL, 0);
        }
        if (r < 0)
            return r;
    }
}

/* Until the first command has ended, could not be started, or init is gone. */
static int serve(struct inner *inner)
{
    struct pollfd fds[] = {{.fd = inner->signals, .events = POLLIN},
                           {.fd = ENGINE_FD_SOCKET, .events = POLLIN}};
    int r = on_order(inner);
    while (r > 0 && inner->children[0].pid > 0 && !inner->ended) {
        struct signalfd_siginfo info;
        if (poll(fds, ELEMENTS(fds), -1) < 0)
            return -errno;
        if (fds[0].revents && read(inner->signals, &info, sizeof(info)) > 0)
            r = info.ssi_signo == SIGTERM || reap(inner) < 0 ? -EPIPE : 1;
        if (r > 0 && !inner->ended && fds[1].revents)
            r = on_order(inner);
    }
    return inner->ended ? 0 : -EPIPE;
}

static int begin(struct inner *inner)
{
    sigset_t all;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL); /* engines unblock some */
    if (fcntl(ENGINE_FD_SOCKET, F_SETFD, FD_CLOEXEC) < 0 || close(ENGINE_FD_INNER) < 0 ||
        memfd_map(ENGINE_FD_FILTER, START_MAX, &inner->filters.data, &inner->filters.length) <
            0 ||
        close_from(ENGINE_FD_FILTER) < 0)
        return -errno;
    inner->signals = watch_signals(-1, false);
    return inner->signals < 0 ? inner->signals : 0;
}

int inner_main(bool masks_proc)
{
    static struct inner inner;
    (void)prctl(PR_SET_NAME, "isolate-inner");
    (void)umask(022);
    if (begin(&inner) < 0)
        return 125;
    if (masks_proc)
        (void)!inner_mask_proc(&inner.problem);
    if (serve(&inner) < 0)
        return 125;
    return WIFSIGNALED(inner.status) ? 128 + WTERMSIG(inner.status) : WEXITSTATUS(inner.status);
}
