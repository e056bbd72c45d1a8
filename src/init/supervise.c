/* SPDX-License-Identifier: Apache-2.0 */
/* While the command runs: reap every orphan, forward the client's signals, start what exec asks
 * for, end everything when the command or its client ends or the time is over. Runs as root of
 * the sandbox's user namespace; clients are hostile, and so is every process beside this one.
 * isolated may go and come back: it connects to the listening socket then. */
#include "init/engine.h"
#include "init/init.h"
#include "sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define KILL_AFTER_MS 10000 /* between TERM and KILL, when a time is over */
#define LOOK_AGAIN_MS 60000

/* A command that exec asked for. */
struct task {
    pid_t pid;      /* 0: free */
    uint32_t order; /* what the inner init of a foreign engine calls it */
    int control_fd;
};

struct supervisor {
    struct running *running;
    struct task tasks[EXECS_MAX];
    int park_fd;          /* -EBADF: isolated is away */
    uint64_t deadline_ms; /* 0: none; once a time is over, of what comes next */
    int over;             /* the kind of exit that this makes; 0: not yet */
    bool lost;            /* a foreign engine has ended without a word on how its command did */
};

struct message exit_message(int status, int over)
{
    return (struct message){
        .type = MESSAGE_EXITED,
        .value = over                  ? over
                 : WIFSIGNALED(status) ? EXIT_KIND_SIGNALED
                                       : EXIT_KIND_EXITED,
        .detail = WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status),
    };
}

static void end_task(struct supervisor *supervisor, struct task *task, int status)
{
    const struct message exited = exit_message(status, 0);
    (void)!message_try(task->control_fd, &exited);
    fd_close(task->control_fd);
    *task = (struct task){.control_fd = -EBADF};
}

static void end_task_of(struct supervisor *supervisor, pid_t pid, int status)
{
    for (size_t i = 0; i < EXECS_MAX; i++)
        if (supervisor->tasks[i].pid == pid)
            end_task(supervisor, &supervisor->tasks[i], status);
}

/* What the inner init of a foreign engine tells; true when the command has ended. */
static bool hear_engine(struct supervisor *supervisor, int *ret_status)
{
    struct message exited;
    bool ended = false;
    while (engine_ended(&supervisor->running->engine, &exited)) {
        int status = engine_status(&exited);
        if (exited.serial == 0) {
            *ret_status = status;
            ended = true;
            continue;
        }
        for (size_t i = 0; i < EXECS_MAX; i++)
            if (supervisor->tasks[i].pid > 0 && supervisor->tasks[i].order == exited.serial)
                end_task(supervisor, &supervisor->tasks[i], status);
    }
    return ended;
}

/* The inner init is gone, and with it who tells how commands beside the first have done. */
static void end_tasks_untold(struct supervisor *supervisor)
{
    for (size_t i = 0; i < EXECS_MAX; i++) {
        struct task *task = &supervisor->tasks[i];
        if (task->pid > 0) {
            command_signal((struct addressee){task->pid, false}, SIGKILL);
            end_task(supervisor, task, SIGKILL);
        }
    }
}

/* Reaps whatever ended; true when the command did, with its wait status. A foreign engine that
 * has ended has taken all along; before that its inner init may tell how the command did. */
static bool reap(struct supervisor *supervisor, int *ret_status)
{
    const struct running *running = supervisor->running;
    bool foreign = running->engine.pid > 0;
    bool ended = foreign && hear_engine(supervisor, ret_status);
    if (foreign && running->engine.socket_fd < 0)
        end_tasks_untold(supervisor);
    for (;;) {
        int status = 0;
        pid_t pid = waitpid(-1, &status, WNOHANG);
        if (pid <= 0)
            return ended;
        if (pid == (foreign ? running->engine.pid : running->command.pid)) {
            bool told = ended || (foreign && hear_engine(supervisor, ret_status));
            /* of the template's own init it is the engine that tells */
            bool tells = !foreign || told || running->command.is_init;
            supervisor->lost = !tells && WIFEXITED(status);
            *ret_status = told ? *ret_status : status;
            ended = true;
        } else if (!foreign) {
            end_task_of(supervisor, pid, status);
        }
    }
}

/* To all but us; a command that stands still takes no signal but KILL. */
static void signal_all(const struct supervisor *supervisor, int number)
{
    if (number != SIGKILL && supervisor->running->command.is_init)
        command_signal(supervisor->running->command, number);
    else if (number != SIGKILL && supervisor->running->engine.pid > 0)
        engine_signal_all(&supervisor->running->engine, number);
    else
        (void)kill(-1, number);
    (void)kill(-1, SIGCONT);
}

/* The kind of exit where a time is over, else 0 and when to look again (-1: never). */
static int look_at_clocks(const struct supervisor *supervisor, uint64_t now, int *ret_ms)
{
    uint64_t deadline = supervisor->deadline_ms;
    if (deadline != 0 && now >= deadline)
        return EXIT_KIND_TIMEOUT;
    int cpu_ms = cpu_clock_left_ms(&supervisor->running->cpu_clock);
    if (cpu_ms == 0)
        return EXIT_KIND_CPU_TIME;
    uint64_t left = deadline == 0 ? LOOK_AGAIN_MS : deadline - now;
    *ret_ms = left > LOOK_AGAIN_MS ? LOOK_AGAIN_MS : (int)left;
    if (deadline == 0 || (cpu_ms > 0 && cpu_ms < *ret_ms))
        *ret_ms = cpu_ms;
    return 0;
}

/* Milliseconds until the clocks are to be looked at again, for poll; acts on one that has run
 * out: TERM, and KILL for what is left after that. */
static int watch_clocks(struct supervisor *supervisor)
{
    uint64_t now = time_now_ms();
    int ms = -1;
    if (supervisor->over == 0) {
        supervisor->over = look_at_clocks(supervisor, now, &ms);
        if (supervisor->over == 0)
            return ms;
        signal_all(supervisor, SIGTERM);
        supervisor->deadline_ms = now + KILL_AFTER_MS;
    } else if (now >= supervisor->deadline_ms) {
        signal_all(supervisor, SIGKILL);
        supervisor->deadline_ms = now + 1000;
    }
    return (int)(supervisor->deadline_ms - now);
}

static void exec_one(struct supervisor *supervisor, const struct message *message,
                     struct fd_list *fds)
{
    uint32_t order = 0;
    struct error err = {0};
    struct task *task = NULL;
    for (size_t i = 0; i < EXECS_MAX && !task; i++)
        if (supervisor->tasks[i].pid == 0)
            task = &supervisor->tasks[i];
    pid_t pid =
        task ? init_exec(supervisor->running, &order, fds, &err)
             : fail(&err, ERROR_BUSY, EAGAIN,
                    "%d commands run in this sandbox beside the first already", EXECS_MAX);
    if (pid < 0) {
        if (message_send_error(supervisor->park_fd, message->serial, &err) < 0)
            errno = 0; /* nobody waits for it any more */
        return;
    }
    *task = (struct task){pid, order, fds->fds[1]};
    fds->fds[1] = -EBADF;
    const struct message started = {.type = MESSAGE_STARTED, .serial = message->serial};
    (void)!message_try(task->control_fd, &started);
    (void)!message_try(supervisor->park_fd, &started);
}

static void on_park(struct supervisor *supervisor)
{
    struct running *running = supervisor->running;
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(supervisor->park_fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return;
    if (r <= 0) {
        fd_close(supervisor->park_fd);
        supervisor->park_fd = -EBADF;
        return;
    }
    if (message.type == MESSAGE_EXEC) {
        exec_one(supervisor, &message, &fds);
    } else if (message.type == MESSAGE_ATTACH && fds.n == 1) {
        detached_attach(&running->detached, TAKE_FD(fds.fds[0]), message.value == 1);
        fds.n = 0;
    } else if (message.type == MESSAGE_SIGNAL) {
        command_signal(running->command, message.value);
    }
}

/* A new isolated takes the place of the old one. */
static void on_listen(struct supervisor *supervisor)
{
    int fd = accept4(supervisor->running->listen_fd, NULL, NULL, SOCK_CLOEXEC);
    if (fd < 0)
        return;
    fd_close(supervisor->park_fd);
    supervisor->park_fd = fd;
}

/* False when its client is gone. */
static bool on_control(int control_fd, struct addressee command)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == 1 && message.type == MESSAGE_SIGNAL)
        command_signal(command, message.value);
    return r > 0 || r == -EAGAIN;
}

/* The client of one of them is gone: what it started ends, the sandbox goes on. */
static void on_task(struct task *task)
{
    struct addressee command = {task->pid, false};
    if (on_control(task->control_fd, command))
        return;
    fd_close(task->control_fd);
    task->control_fd = -EBADF;
    command_signal(command, SIGKILL);
}

enum { POLL_SIGNALS, POLL_PARK, POLL_LISTEN, POLL_CONTROL, POLL_ENGINE, POLL_TASKS };
#define POLL_MAX (POLL_TASKS + EXECS_MAX + DETACHED_POLL_MAX)

/* False when the sandbox's own client is gone. */
static bool step(struct supervisor *supervisor)
{
    struct running *running = supervisor->running;
    struct pollfd fds[POLL_MAX] = {
        [POLL_SIGNALS] = {.fd = running->signals_fd, .events = POLLIN},
        [POLL_PARK] = {.fd = supervisor->park_fd, .events = POLLIN},
        [POLL_LISTEN] = {.fd = running->listen_fd, .events = POLLIN},
        [POLL_CONTROL] = {.fd = running->control_fd, .events = POLLIN},
        [POLL_ENGINE] = {.fd = running->engine.socket_fd, .events = POLLIN},
    };
    for (size_t i = 0; i < EXECS_MAX; i++) {
        const struct task *task = &supervisor->tasks[i];
        fds[POLL_TASKS + i] =
            (struct pollfd){.fd = task->pid ? task->control_fd : -1, .events = POLLIN};
    }
    struct pollfd *detached_fds = fds + POLL_TASKS + EXECS_MAX;
    size_t n_detached =
        running->detached.log ? detached_poll(&running->detached, detached_fds) : 0;
    if (poll(fds, POLL_TASKS + EXECS_MAX + n_detached, watch_clocks(supervisor)) <= 0)
        return true;
    struct signalfd_siginfo info;
    if ((fds[POLL_SIGNALS].revents & POLLIN) &&
        read(running->signals_fd, &info, sizeof(info)) < 0)
        return true;
    if (fds[POLL_CONTROL].revents && !on_control(running->control_fd, running->command))
        return false;
    for (size_t i = 0; i < EXECS_MAX; i++)
        if (fds[POLL_TASKS + i].revents && supervisor->tasks[i].pid)
            on_task(&supervisor->tasks[i]);
    detached_serve(&running->detached, detached_fds, n_detached, running->command);
    if (fds[POLL_PARK].revents)
        on_park(supervisor);
    if (fds[POLL_LISTEN].revents)
        on_listen(supervisor);
    return true;
}

/* Every process of the sandbox is a child of ours, or of one: without any there is nobody to
 * kill, and kill(-1) would look at each process of the host (0.3 ms with 3,000). */
static bool has_children(void)
{
    siginfo_t info;
    return waitid(P_ALL, 0, &info, WEXITED | WNOHANG | WNOWAIT) == 0 || errno != ECHILD;
}

/* Nothing of the sandbox is left when its client hears of the end. */
static void end_all(struct supervisor *supervisor)
{
    int status = 0;
    if (has_children()) {
        (void)kill(-1, SIGKILL);
        for (pid_t pid = waitpid(-1, &status, 0); pid > 0; pid = waitpid(-1, &status, 0))
            end_task_of(supervisor, pid, status);
    }
    /* those of a foreign engine went with it, perhaps before */
    (void)hear_engine(supervisor, &status);
    end_tasks_untold(supervisor);
}

/* Of a detached sandbox only isolated is told, and there may be none now. */
static void tell_isolated(struct supervisor *supervisor, const struct message *exited)
{
    struct running *running = supervisor->running;
    while (message_try(supervisor->park_fd, exited) < 0 && running->detached.log &&
           running->listen_fd >= 0) {
        struct pollfd fd = {.fd = running->listen_fd, .events = POLLIN};
        if (poll(&fd, 1, -1) > 0)
            on_listen(supervisor);
    }
}

static void end(struct supervisor *supervisor, int status)
{
    const struct message exited = exit_message(status, supervisor->over);
    end_all(supervisor);
    supervisor->running->console_fd = fd_close(supervisor->running->console_fd);
    detached_end(&supervisor->running->detached, &exited);
    /* isolated before the client, who may have the next one as soon as it knows of the end */
    tell_isolated(supervisor, &exited);
    if (supervisor->running->control_fd >= 0)
        (void)!message_try(supervisor->running->control_fd, &exited);
}

int init_watch_children(void)
{
    sigset_t child;
    (void)sigemptyset(&child);
    (void)sigaddset(&child, SIGCHLD);
    int fd = signalfd(-1, &child, SFD_CLOEXEC | SFD_NONBLOCK);
    return fd < 0 ? -errno : fd;
}

void init_supervise(struct running *running)
{
    static struct supervisor supervisor; /* large */
    supervisor = (struct supervisor){
        .running = running,
        .park_fd = INIT_PARK_FD,
        .deadline_ms = running->timeout_ms ? time_now_ms() + running->timeout_ms : 0,
    };
    for (size_t i = 0; i < EXECS_MAX; i++)
        supervisor.tasks[i].control_fd = -EBADF;
    for (;;) {
        int status = 0;
        if (reap(&supervisor, &status)) {
            if (!supervisor.lost) /* else nobody says what nobody knows */
                end(&supervisor, status);
            return;
        }
        if (!step(&supervisor))
            return; /* exit of pid 1 kills the whole sandbox */
    }
}
