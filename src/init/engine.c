/* SPDX-License-Identifier: Apache-2.0 */
/* Executes a foreign engine. It finds the host's /usr, a proc and the sandbox's root, and holds
 * nothing of the client: its stdin and stdout are /dev/null, what it says on stderr is for the
 * error message. All signals are blocked in it: those for the command do not end it before. */
#include "init/engine.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/keyctl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define SAID_MAX        512 /* bytes of what an engine says */
#define ENVIRONMENT_MAX 4
#define SPARE_FD        64      /* above all fixed numbers */
#define NOBODY          INT_MAX /* no process has that pid, so that no signal reaches one */

struct task {
    const struct start_engine *engine;
    int filter_fd;
    const struct engine_place *place;
    int socket_fd; /* the inner init's end, above SPARE_FD */
    int said_fd;   /* for stderr, likewise */
};

/* Out of the way of the fixed numbers. */
static int lift(int take_fd)
{
    int fd = take_fd < 0 ? -errno : fcntl(take_fd, F_DUPFD_CLOEXEC, SPARE_FD);
    int r = fd < 0 ? -errno : fd;
    fd_close(take_fd);
    return r;
}

/* To be inherited. */
static int place(int fd, int number)
{
    return dup2(fd, number) < 0 ? -errno : 0;
}

static int place_all(const struct task *task)
{
    _cleanup_close_ int filters = lift(dup(task->filter_fd));
    _cleanup_close_ int null_fd = lift(open("/dev/null", O_RDWR | O_CLOEXEC));
    /* not to be read, but executed */
    _cleanup_close_ int inner = lift(open("/proc/self/exe", O_PATH | O_CLOEXEC));
    const struct {
        int fd;
        int number;
    } places[] = {
        {filters, ENGINE_FD_FILTER}, {null_fd, STDIN_FILENO},
        {null_fd, STDOUT_FILENO},    {task->said_fd, STDERR_FILENO},
        {inner, ENGINE_FD_INNER},    {task->socket_fd, ENGINE_FD_SOCKET},
    };
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(places) && r == 0; i++)
        r = places[i].fd < 0 ? places[i].fd : place(places[i].fd, places[i].number);
    return r;
}

static int execute(const struct task *task, struct error *err)
{
    const struct start_engine *engine = task->engine;
    const char *environment[ENVIRONMENT_MAX + 3] = {NULL};
    char listen_pid[32];
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    if (engine->n_env > ENVIRONMENT_MAX)
        return fail(err, ERROR_PROTOCOL, E2BIG, "engine: its environment");
    for (uint32_t i = 0; i < engine->n_env; i++)
        environment[i] = engine->env[i];
    if (engine->flags & START_ENGINE_LISTEN) {
        (void)snprintf(listen_pid, sizeof(listen_pid), "LISTEN_PID=%d", (int)getpid());
        environment[engine->n_env] = "LISTEN_FDS=3";
        environment[engine->n_env + 1] = listen_pid;
    }
    int r = engine_enter_root(task->place, engine, err);
    if (r < 0)
        return r;
    r = setpgid(0, 0) < 0 ? -errno : place_all(task);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "engine: its files: ");
    (void)execve(engine->argv[0], (char *const *)engine->argv, (char *const *)environment);
    return fail(err, ERROR_SYSTEM, errno, "engine: execute %s: ", engine->argv[0]);
}

static _Noreturn void child(const struct task *task)
{
    struct error err = {0};
    if (execute(task, &err) < 0)
        (void)!message_send_error(task->socket_fd, 0, &err);
    _exit(125);
}

/* The pid that a pidfd means, as it is seen here. */
static pid_t pid_of(int pidfd)
{
    char name[48];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(name, sizeof(name), "/proc/self/fdinfo/%d", pidfd);
    if (file_read_at(AT_FDCWD, name, 4096, &text) < 0 || !text.data)
        return -ESRCH;
    const char *line = strstr(text.data, "\nPid:\t");
    long pid = line ? strtol(line + 6, NULL, 10) : 0;
    return pid > 0 ? (pid_t)pid : -ESRCH;
}

/* Most engines want to find devices there. */
static const char *over_dev(const struct start *start)
{
    for (uint32_t i = 0; i < start->n_binds; i++)
        if (streq(start->binds[i].target, "/dev"))
            return "bind";
    for (uint32_t i = 0; i < start->n_tmpfs; i++)
        if (streq(start->tmpfs[i].target, "/dev"))
            return "tmpfs";
    return NULL;
}

/* The engine is gone, or fails: what it said, on one line. */
static int failed(const struct engine_child *child, const struct start *start, int status,
                  struct error *err)
{
    char said[SAID_MAX + 1] = "";
    ssize_t n = read(child->said_fd, said, SAID_MAX);
    said[n > 0 ? n : 0] = '\0';
    said[strcspn(said, "\n")] = '\0';
    const char *name = strrchr(start->engine.argv[0], '/') + 1;
    const char *over = over_dev(start);
    int r =
        fail(err, ERROR_SYSTEM, EIO, "engine %s could not make its sandbox: %.250s%s%d", name,
             *said                 ? said
             : WIFSIGNALED(status) ? "it was ended by signal"
                                   : "it ended",
             *said ? "; status " : " ",
             WIFSIGNALED(status) ? WTERMSIG(status) : WEXITSTATUS(status));
    return over ? error_suffix(err, r,
                               "; the %s at /dev hides the devices that this engine looks for: "
                               "bind single names below /dev, or use --engine native",
                               over)
                : r;
}

static void remember(struct engine_child *child, const struct message *message)
{
    if (child->n_told < ELEMENTS(child->told))
        child->told[child->n_told++] = *message;
}

/* A command that was given up before it was known to have started: it has no client. */
static void disown(const struct message *message, const struct fd_list *fds)
{
    if (message->type == MESSAGE_STARTED && fds->n == 1)
        (void)!pidfd_signal(fds->fds[0], SIGKILL);
}

/* 0: it has nothing to say in time. */
static int wait_for_word(const struct engine_child *child, uint64_t end_ms)
{
    struct pollfd fd = {.fd = child->socket_fd, .events = POLLIN};
    uint64_t now = time_now_ms();
    return end_ms > 0 && now >= end_ms ? 0
                                       : poll(&fd, 1, end_ms > 0 ? (int)(end_ms - now) : -1);
}

static pid_t pid_or_nobody(int pidfd)
{
    pid_t pid = pid_of(pidfd);
    return pid > 0 ? pid : NOBODY; /* it has ended already */
}

/* Until the inner init has executed the command of that number: its pid; 0 where it says
 * nothing any more. */
static pid_t await(struct engine_child *child, uint32_t order, int patience_ms,
                   struct error *err)
{
    struct message message = {0};
    pid_t announced = 0;
    uint64_t end_ms = patience_ms > 0 ? time_now_ms() + (uint64_t)patience_ms : 0;
    for (;;) {
        _cleanup_fd_list_ struct fd_list fds = {0};
        int r = wait_for_word(child, end_ms) == 0
                    ? 0
                    : message_receive_to_end(child->socket_fd, &message, 0, &fds);
        if (r <= 0)
            return announced; /* it has ended already, and who would have told with it */
        if (message.type == MESSAGE_EXITED) {
            remember(child, &message);
            continue;
        }
        if (message.serial != order) {
            disown(&message, &fds);
            continue;
        }
        if (message.type != MESSAGE_STARTED || fds.n != 1) {
            message_to_error(&message, err);
            return -err->errnum;
        }
        announced = pid_or_nobody(fds.fds[0]);
        if (message.value != ENGINE_STARTED_ANNOUNCED)
            return announced;
    }
}

static pid_t await_first(struct engine_child *child, const struct start *start,
                         struct error *err)
{
    int status = 0;
    pid_t pid = await(child, 0, 0, err);
    if (pid > 0)
        return pid;
    (void)kill(child->pid, SIGKILL);
    (void)waitpid(child->pid, &status, 0);
    return pid < 0 ? pid : failed(child, start, status, err);
}

/* The root with all that is mounted there, detached; what is not of the first command has it.
 */
static int copy_root(const struct engine_child *child, uint32_t serial)
{
    return serial == 0 && child->late == ENGINE_LATE_ROOT ? mount_open_tree(AT_FDCWD, "/", true)
                                                          : -EBADF;
}

static int send_stdio(const struct engine_child *child, const struct command *command,
                      int spec_fd, uint32_t serial)
{
    _cleanup_close_ int root = copy_root(child, serial);
    const struct message message = {.type = MESSAGE_STDIO,
                                    .value = serial == 0 ? (int32_t)child->late : 0,
                                    .serial = serial};
    const int fds[] = {command->stdio[0], command->stdio[1],  command->stdio[2],
                       spec_fd,           command->filter_fd, root};
    if (root < 0 && root != -EBADF)
        return root;
    return message_send(child->socket_fd, &message, fds, ELEMENTS(fds) - (root < 0));
}

int engine_launch(const struct start *start, int filter_fd, const struct engine_place *place,
                  struct engine_child *ret, struct error *err)
{
    int sockets[2];
    int said[2];
    int r = socket_pair(SOCK_SEQPACKET, sockets);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "engine: socket: ");
    _cleanup_close_ int ours = sockets[0];
    _cleanup_close_ int theirs = lift(sockets[1]);
    if (pipe2(said, O_CLOEXEC | O_NONBLOCK) < 0)
        return fail(err, ERROR_SYSTEM, errno, "engine: pipe: ");
    _cleanup_close_ int said_fd = said[0];
    _cleanup_close_ int said_end = lift(said[1]);
    r = theirs < 0 ? theirs : said_end < 0 ? said_end : 0;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "engine: its files: ");
    const struct task task = {&start->engine, filter_fd, place, theirs, said_end};
    pid_t engine = fork();
    if (engine == 0)
        child(&task);
    if (engine < 0)
        return fail(err, ERROR_SYSTEM, errno, "engine: fork: ");
    *ret = (struct engine_child){
        .pid = engine, .socket_fd = TAKE_FD(ours), .said_fd = TAKE_FD(said_fd)};
    return 0;
}

pid_t engine_run(struct engine_child *child, const struct command *command, int spec_fd,
                 struct error *err)
{
    int r = send_stdio(child, command, spec_fd, 0);
    if (r < 0 && r != -EPIPE) /* it is gone: why, it has said */
        (void)kill(child->pid, SIGKILL);
    pid_t pid = await_first(child, command->start, err);
    child->said_fd = fd_close(child->said_fd);
    if (pid > 0)
        return pid;
    child->socket_fd = fd_close(child->socket_fd);
    child->pid = 0;
    return pid;
}

pid_t engine_exec(struct engine_child *child, const struct command *command,
                  uint32_t *ret_order, struct error *err)
{
    uint32_t order = ++child->last_order;
    *ret_order = order;
    _cleanup_buffer_ struct buffer spec = {0};
    int r = start_encode(command->start, &spec, err);
    if (r < 0)
        return r;
    _cleanup_close_ int spec_fd = memfd_of("isolate-start", spec.data, spec.length, 0600);
    r = spec_fd < 0 ? spec_fd : send_stdio(child, command, spec_fd, order);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "exec: ask the inner init: ");
    /* longer than the inner init waits itself */
    pid_t pid = await(child, order, command->patience_ms + 2000, err);
    return pid != 0 ? pid
                    : fail(err, ERROR_BUSY, ESRCH, "exec: the sandbox is ending, or stopped");
}

void engine_signal_all(const struct engine_child *child, int signal_number)
{
    const struct message message = {.type = MESSAGE_SIGNAL, .value = signal_number};
    (void)!message_try(child->socket_fd, &message);
}

bool engine_ended(struct engine_child *child, struct message *ret)
{
    if (child->n_told > 0) {
        *ret = child->told[0];
        child->n_told--;
        memmove(child->told, child->told + 1, child->n_told * sizeof(child->told[0]));
        return true;
    }
    for (;;) {
        _cleanup_fd_list_ struct fd_list fds = {0};
        int r = child->socket_fd < 0
                    ? 0
                    : message_receive_to_end(child->socket_fd, ret, MSG_DONTWAIT, &fds);
        if (r == 0)
            child->socket_fd = fd_close(child->socket_fd);
        if (r <= 0)
            return false;
        if (ret->type == MESSAGE_EXITED)
            return true;
        disown(ret, &fds);
    }
}

int engine_status(const struct message *exited)
{
    return exited->value == EXIT_KIND_SIGNALED ? exited->detail & 0x7f
                                               : (exited->detail & 0xff) << 8;
}
