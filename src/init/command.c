/* SPDX-License-Identifier: Apache-2.0 */
/* The command's process: from a fork of init to its first instruction, dropping everything on
 * the way. Runs as root of the sandbox's user namespace until it becomes the asked-for user;
 * what it executes is hostile from then on. */
#include "base/text.h"
#include "init/init.h"
#include "init/program.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/filter_load.h"
#include "sys/filter_walk.h"
#include "sys/process.h"
#include "sys/scope.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FILTER_MAX                                                                             \
    (FILTER_PROGRAMS_MAX * 4097 * sizeof(struct sock_filter)) /* BPF_MAXINSNS                  \
                                                               */

/* SIGRTMIN+3 of glibc, by whose numbers systemd goes */
#define INIT_POWEROFF_SIGNAL 37

/* What a command's process is to do. */
struct task {
    const struct start *start;
    const struct account *account;
    const int *stdio;
    char **environment;
    const void *filters; /* sys/filter_walk.h */
    size_t filters_length;
    bool early_filters_loaded;
};

/* What asks for the end of a command, as the request to shut down that systemd knows. Another
 * init may not, and is killed when its time is over, as a command is. */
static int as_for_init(int signal_number)
{
    static const int ends[] = {SIGTERM, SIGINT, SIGQUIT, SIGHUP};
    for (size_t i = 0; i < ELEMENTS(ends); i++)
        if (signal_number == ends[i])
            return INIT_POWEROFF_SIGNAL;
    return signal_number;
}

void command_signal(struct addressee to, int signal_number)
{
    pid_t command = to.pid;
    if (signal_number < 1 || signal_number > SIGRTMAX)
        return;
    if (to.is_init) {
        (void)kill(command, as_for_init(signal_number));
        return;
    }
    /* its group: without a terminal, all that a terminal would have reached; with one of its
     * own, what is typed there goes to the foreground group by the kernel's hand */
    if (kill(-command, signal_number) < 0)
        (void)kill(command, signal_number);
}

static int setup_stdio(const struct task *task, struct error *err)
{
    bool tty = task->start->flags & START_TTY;
    bool boot = task->start->flags & START_BOOT; /* its terminal is for whom it likes */
    /* a pty's user leads a session; without one the command is a group of init's session, which
     * is then not orphaned, so that TSTP stops it */
    if (!boot && (tty ? setsid() < 0 : setpgid(0, 0) < 0))
        return fail(err, ERROR_SYSTEM, errno, "process group: ");
    if (tty && !boot && ioctl(task->stdio[0], TIOCSCTTY, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "controlling terminal: ");
    for (int i = 0; i < 3; i++)
        if (dup2(task->stdio[i], i) < 0)
            return fail(err, ERROR_SYSTEM, errno, "stdio: ");
    return 0;
}

static int become_user(const struct start *start, const struct account *account,
                       struct error *err)
{
    uint32_t groups[START_GROUPS];
    uint32_t n = start->n_groups;
    memcpy(groups, start->groups, sizeof(groups));
    if ((start->flags & START_USER_BY_NAME) && *account->name &&
        account_groups(account->name, groups, &n) < 0)
        return fail(err, ERROR_SYSTEM, EINVAL, "the sandbox's /etc/group: ");
    bool confined = !(start->flags & START_UNCONFINED);
    uint64_t capabilities = start->uid == 0 ? start->capabilities : 0;
    int r = !confined || capabilities == caps_default() ? 0 : caps_bound(capabilities);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "bound the capabilities: ");
    if (setgroups(n, (gid_t *)groups) < 0 ||
        setresgid(start->gid, start->gid, start->gid) < 0 ||
        setresuid(start->uid, start->uid, start->uid) < 0)
        return fail(err, ERROR_SYSTEM, errno, "become %u:%u: ", start->uid, start->gid);
    r = confined ? caps_set(capabilities) : 0;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "set the capabilities: ") : 0;
}

/* A default that cannot be entered becomes "/"; what was asked for is an error. */
static int enter_workdir(const struct task *task, struct error *err)
{
    const char *workdir = task->start->workdir;
    if (*workdir) {
        if (chdir(workdir) < 0)
            return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                        "working directory %s in the sandbox: ", workdir);
        return 0;
    }
    if (chdir(task->account->home) < 0 && chdir("/") < 0)
        return fail(err, ERROR_SYSTEM, errno, "working directory /: ");
    return 0;
}

/* From here on it is the command's user, with the command's rights. */
static int drop_everything(const struct task *task, struct error *err)
{
    sigset_t none;
    (void)sigemptyset(&none);
    int r = become_user(task->start, task->account, err);
    if (r == 0)
        r = enter_workdir(task, err);
    if (r < 0)
        return r;
    (void)umask(task->start->umask);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    return 0;
}

/* The last of all: how many files and processes there may be is the command's own affair. */
static int limit_resources(const struct rlimit_wishes *ulimits, struct error *err)
{
    for (uint32_t i = 0; i < ulimits->n; i++) {
        const struct rlimit_wish *wish = &ulimits->items[i];
        const struct rlimit limit = {wish->soft, wish->hard};
        if (setrlimit((int)wish->resource, &limit) < 0)
            return fail(err, ERROR_UNSUPPORTED, errno,
                        "ulimit %s: set it in the sandbox: ", rlimit_name(wish->resource));
    }
    return 0;
}

/* Whatever can be done before it is known what the command is. */
static int confine(const struct task *task, uint64_t capabilities, struct error *err)
{
    /* where there are no keys, or none for us, there is nothing to be left behind */
    if (syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL) < 0 && errno == ENOMEM)
        return fail(err, ERROR_SYSTEM, errno, "session keyring: ");
    int r = caps_bound(capabilities);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "bound the capabilities: ");
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "no_new_privs: ");
    if (task->start && (task->start->flags & START_SCOPED)) {
        r = scope_sockets(err);
        if (r < 0)
            return r;
    }
    return task->early_filters_loaded
               ? 0
               : filter_load(task->filters, task->filters_length, FILTER_EARLY, err);
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* In the order of systemd-nspawn(1), --boot. */
static int execute_init(struct error *err)
{
    static const char *const inits[] = {"/usr/lib/systemd/systemd", "/lib/systemd/systemd",
                                        "/sbin/init"};
    for (size_t i = 0; i < ELEMENTS(inits); i++) {
        char *const argv[] = {(char *)inits[i], NULL};
        (void)execv(inits[i], argv);
        if (errno != ENOENT && errno != ENOTDIR)
            return fail(err, ERROR_NOT_EXECUTABLE, errno, "%s: cannot be executed: ", inits[i]);
    }
    return fail(err, ERROR_NO_COMMAND, ENOENT,
                "--boot: the template has no init: neither /usr/lib/systemd/systemd nor "
                "/sbin/init; install one (systemd-sysv), or give a command");
}

static int execute(const struct task *task, struct error *err)
{
    const struct start *start = task->start;
    const char *shell = task->account->shell;
    char login[280];
    (void)snprintf(login, sizeof(login), "%s%.256s",
                   start->flags & START_SHELL_LOGIN ? "-" : "", last_component(shell));
    char *const shell_argv[] = {login, NULL};
    const char *file = start->n_argv > 0 ? start->argv[0] : shell;
    char *const *argv = start->n_argv > 0 ? (char *const *)start->argv : shell_argv;
    environ = task->environment;
    if (start->flags & START_BOOT)
        return execute_init(err);
    (void)execvp(file, argv);
    return program_refused(file, errno, err);
}

/* The last steps; the filters let them pass. */
static int go(const struct task *task, struct error *err)
{
    int r = setup_stdio(task, err);
    if (r == 0)
        r = drop_everything(task, err);
    if (r == 0)
        r = limit_resources(&task->start->ulimits, err);
    if (r == 0)
        r = filter_load(task->filters, task->filters_length, FILTER_LATE, err);
    return r == 0 ? execute(task, err) : r;
}

/* Waits until the child has executed the command: its pid, or what it says. */
static pid_t await(pid_t pid, int report_fd, int patience_ms, struct error *err)
{
    struct error told = {0};
    struct pollfd fd = {.fd = report_fd, .events = POLLIN};
    if (patience_ms > 0 && poll(&fd, 1, patience_ms) == 0) {
        (void)kill(pid, SIGKILL);
        (void)waitpid(pid, NULL, 0);
        return fail(err, ERROR_BUSY, ETIMEDOUT,
                    "start the command: it was stopped on its way to its first instruction");
    }
    int r = fd_read_exactly(report_fd, &told, sizeof(told));
    /* closed by exec; or nobody knows whether it came to that: then it counts as started, and
     * the end of a child that gave up is 125 as well */
    if (r < 0)
        return pid;
    (void)waitpid(pid, NULL, 0);
    if (told.errnum == 0)
        return fail(err, ERROR_SYSTEM, EPROTO, "start the command: ");
    told.text[sizeof(told.text) - 1] = '\0';
    *err = told;
    return -told.errnum;
}

static _Noreturn void give_up(int report_fd, const struct error *err)
{
    _exit(fd_write_all(report_fd, err, sizeof(*err)) < 0 ? 126 : 125);
}

static int run(const struct task *task, struct error *err)
{
    uint64_t capabilities = task->start->uid == 0 ? task->start->capabilities : 0;
    int r = task->start->flags & START_UNCONFINED ? 0 : confine(task, capabilities, err);
    return r == 0 ? go(task, err) : r;
}

static pid_t spawn(const struct task *task, int patience_ms, struct error *err)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "pipe: ");
    _cleanup_close_ int report = pipe_fds[0];
    pid_t pid = fork();
    if (pid == 0 && run(task, err) < 0)
        give_up(pipe_fds[1], err);
    fd_close(pipe_fds[1]);
    return pid < 0 ? fail(err, ERROR_SYSTEM, errno, "fork: ")
                   : await(pid, report, patience_ms, err);
}

/* With this process everything else ends, as it is the first one: it goes on to the end of the
 * child that tells why. */
static _Noreturn void become(const struct task *task, pid_t teller, int take_report_fd)
{
    struct error err = {0};
    if (run(task, &err) < 0)
        (void)!fd_write_all(take_report_fd, &err, sizeof(err));
    fd_close(take_report_fd);
    (void)waitpid(teller, NULL, 0);
    _exit(125);
}

static pid_t swap(const struct task *task, struct error *err)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "pipe: ");
    _cleanup_close_ int report = pipe_fds[0];
    pid_t pid = fork();
    if (pid > 0)
        become(task, pid, pipe_fds[1]);
    fd_close(pipe_fds[1]);
    if (pid < 0 || setsid() < 0)
        return fail(err, ERROR_SYSTEM, errno, "fork: ");
    return await(getppid(), report, 0, err);
}

#define RUNNER_STACK 65536

struct runner {
    struct task task; /* filled in before it is told to go */
    pid_t pid;
    int socket_fd; /* the command's stdio goes there, with one byte */
    int child_fd;  /* its end, in the runner */
    int report_fd;
    int child_report_fd;
    char *stack;
};

/* In the runner, which shares init's memory, errno included, and nothing else: init stands
 * still until it is confined, and again from the byte that comes here until exec, as with
 * vfork. */
static int runner_main(void *data)
{
    struct runner *runner = data;
    struct error err = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    char byte = 0;
    if (confine(&runner->task, caps_default(), &err) < 0)
        give_up(runner->child_report_fd, &err);
    if (socket_send(runner->child_fd, "", 1, NULL, 0) < 0)
        _exit(1);
    ssize_t r = socket_receive(runner->child_fd, &byte, 1, 0, &fds);
    if (r != 1 || fds.n != 3) { /* its end without a word would be that of the command */
        (void)fail(&err, ERROR_SYSTEM, r < 0 ? (int)r : -EPROTO, "start the command: ");
        give_up(runner->child_report_fd, &err);
    }
    runner->task.stdio = fds.fds;
    (void)go(&runner->task, &err);
    give_up(runner->child_report_fd, &err);
}

/* Until the runner is confined, or what it says. */
static int await_confined(const struct runner *runner, struct error *err)
{
    char byte = 0;
    struct fd_list none = {0};
    ssize_t r = socket_receive(runner->socket_fd, &byte, 1, 0, &none);
    if (r == 1)
        return 0;
    if (r < 0) /* it lives, and would be waited for in vain */
        return fail(err, ERROR_SYSTEM, (int)r, "init: prepare: ");
    pid_t pid = await(runner->pid, runner->report_fd, 0, err);
    return pid < 0 ? pid : fail(err, ERROR_SYSTEM, ECHILD, "init: prepare: it died: ");
}

int runner_prepare(int filter_fd, struct runner **ret, struct error *err)
{
    int sockets[2];
    int report[2];
    _cleanup_free_ struct runner *runner = calloc(1, sizeof(*runner));
    _cleanup_free_ char *stack = malloc(RUNNER_STACK);
    int r = runner && stack ? memfd_map(filter_fd, FILTER_MAX, &runner->task.filters,
                                        &runner->task.filters_length)
                            : -ENOMEM;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "init: prepare: ");
    r = socket_pair(SOCK_SEQPACKET, sockets);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "init: prepare: ");
    if (pipe2(report, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "init: prepare: ");
    runner->socket_fd = sockets[0];
    runner->child_fd = sockets[1];
    runner->report_fd = report[0];
    runner->child_report_fd = report[1];
    /* what the child works with stays, whatever comes of it */
    struct runner *made = *ret = TAKE_PTR(runner);
    made->stack = TAKE_PTR(stack);
    made->pid = clone(runner_main, made->stack + RUNNER_STACK, CLONE_VM | SIGCHLD, made);
    r = made->pid < 0 ? fail(err, ERROR_SYSTEM, errno, "init: prepare: ") : 0;
    /* not fd_close: errno is the runner's */
    (void)close(sockets[1]);
    (void)close(report[1]);
    return r < 0 ? r : await_confined(made, err);
}

void runner_discard(struct runner *runner)
{
    runner->socket_fd = fd_close(runner->socket_fd);
    runner->report_fd = fd_close(runner->report_fd);
    (void)kill(runner->pid, SIGKILL);
    (void)waitpid(runner->pid, NULL, 0);
}

static pid_t release(struct runner *runner, const struct task *task, struct error *err)
{
    struct task filled = *task;
    filled.filters = runner->task.filters;
    filled.filters_length = runner->task.filters_length;
    runner->task = filled;
    int r = socket_send(runner->socket_fd, "", 1, task->stdio, 3);
    if (r == -EPIPE || r == -ECONNRESET) { /* it died while it was parked: nothing began */
        runner_discard(runner);
        return spawn(&filled, 0, err);
    }
    pid_t pid = r < 0 ? fail(err, ERROR_SYSTEM, r, "start the command: ")
                      : await(runner->pid, runner->report_fd, 0, err);
    fd_close(runner->socket_fd);
    fd_close(runner->report_fd);
    return pid;
}

static void free_environment(char ***environment)
{
    for (char **p = *environment; p && *p; p++)
        free(*p);
    free(*environment);
}

/* The task of a command; what it has mapped is task_clear's, in who goes on. */
static int task_make(const struct command *command, char **environment, struct task *ret,
                     struct error *err)
{
    *ret = (struct task){
        .start = command->start,
        .account = command->account,
        .stdio = command->stdio,
        .environment = environment,
        .early_filters_loaded = command->early_filters_loaded,
    };
    if (!environment)
        return fail(err, ERROR_SYSTEM, ENOMEM, "environment: ");
    int r =
        command->filter_fd < 0 || command->prepared
            ? 0
            : memfd_map(command->filter_fd, FILTER_MAX, &ret->filters, &ret->filters_length);
    return r < 0 ? fail(err, ERROR_PROTOCOL, r, "system call filter: ") : 0;
}

static void task_clear(struct task *task)
{
    if (task->filters)
        (void)munmap((void *)task->filters, task->filters_length);
}

pid_t init_become_command(const struct command *command, struct error *err)
{
    _cleanup_(task_clear) struct task task = {0};
    _cleanup_(free_environment) char **environment =
        init_environment(command->start, command->account);
    int r = task_make(command, environment, &task, err);
    return r < 0 ? r : swap(&task, err);
}

pid_t init_run_command(const struct command *command, struct error *err)
{
    _cleanup_(task_clear) struct task task = {0};
    _cleanup_(free_environment) char **environment =
        init_environment(command->start, command->account);
    int r = task_make(command, environment, &task, err);
    if (r < 0)
        return r;
    return command->prepared ? release(command->prepared, &task, err)
                             : spawn(&task, command->patience_ms, err);
}
