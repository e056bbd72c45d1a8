/* SPDX-License-Identifier: Apache-2.0 */
/* The command's process: from a fork of init to its first instruction, dropping everything on
 * the way. Runs as root of the sandbox's user namespace until it becomes the asked-for user;
 * what it executes is hostile from then on. */
#include "base/text.h"
#include "init/init.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/filter.h>
#include <linux/keyctl.h>
#include <linux/seccomp.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define FILTER_MAX                                                                             \
    (FILTER_PROGRAMS_MAX * 4097 * sizeof(struct sock_filter)) /* BPF_MAXINSNS                  \
                                                               */

struct runner {
    const struct start *start;
    const struct account *account;
    const int *stdio;
    char **environment;
    const void *filters; /* struct filter_program and its instructions, one behind the other */
    size_t filters_length;
};

void command_signal(pid_t command, int signal_number)
{
    if (signal_number < 1 || signal_number > SIGRTMAX)
        return;
    /* its group: without a terminal, all that a terminal would have reached; with one of its
     * own, what is typed there goes to the foreground group by the kernel's hand */
    if (kill(-command, signal_number) < 0)
        (void)kill(command, signal_number);
}

static int setup_stdio(const struct runner *runner, struct error *err)
{
    bool tty = runner->start->flags & START_TTY;
    /* a pty's user leads a session; without one the command is a group of init's session, which
     * is then not orphaned, so that TSTP stops it */
    if (tty ? setsid() < 0 : setpgid(0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "process group: ");
    if (tty && ioctl(runner->stdio[0], TIOCSCTTY, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "controlling terminal: ");
    for (int i = 0; i < 3; i++)
        if (dup2(runner->stdio[i], i) < 0)
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
    uint64_t capabilities = start->uid == 0 ? start->capabilities : 0;
    int r = caps_bound(capabilities);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "bound the capabilities: ");
    if (setgroups(n, (gid_t *)groups) < 0 ||
        setresgid(start->gid, start->gid, start->gid) < 0 ||
        setresuid(start->uid, start->uid, start->uid) < 0)
        return fail(err, ERROR_SYSTEM, errno, "become %u:%u: ", start->uid, start->gid);
    r = caps_set(capabilities);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "set the capabilities: ") : 0;
}

/* A default that cannot be entered becomes "/"; what was asked for is an error. */
static int enter_workdir(const struct runner *runner, struct error *err)
{
    const char *workdir = runner->start->workdir;
    if (*workdir) {
        if (chdir(workdir) < 0)
            return fail(err, errno == ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                        "working directory %s in the sandbox: ", workdir);
        return 0;
    }
    if (chdir(runner->account->home) < 0 && chdir("/") < 0)
        return fail(err, ERROR_SYSTEM, errno, "working directory /: ");
    return 0;
}

/* The host's network brings the host's abstract unix sockets along (X11, D-Bus…), which no file
 * permission guards. Landlock closes them since kernel 6.12 (ABI 6); an older kernel cannot.
 * Source: landlock(7). */
static int scope_sockets(struct error *err)
{
    const struct {
        uint64_t handled_access_fs;
        uint64_t handled_access_net;
        uint64_t scoped;
    } rules = {.scoped = 1};    /* LANDLOCK_SCOPE_ABSTRACT_UNIX_SOCKET */
    const unsigned ask_abi = 1; /* LANDLOCK_CREATE_RULESET_VERSION */
    long abi = syscall(SYS_landlock_create_ruleset, NULL, 0, ask_abi);
    if (abi < 6)
        return 0;
    _cleanup_close_ int fd =
        (int)syscall(SYS_landlock_create_ruleset, &rules, sizeof(rules), 0);
    if (fd < 0 || syscall(SYS_landlock_restrict_self, fd, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "landlock: ");
    return 0;
}

static int load_filters(const struct runner *runner, struct error *err)
{
    const char *at = runner->filters;
    size_t left = runner->filters_length;
    while (left >= sizeof(struct filter_program)) {
        const struct filter_program *header = (const struct filter_program *)at;
        size_t size = sizeof(*header) + header->n_instructions * sizeof(struct sock_filter);
        if (size > left)
            break;
        struct sock_fprog program = {
            .len = (unsigned short)header->n_instructions,
            .filter = (struct sock_filter *)(at + sizeof(*header)),
        };
        if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
            return fail(err, ERROR_SYSTEM, errno, "system call filter: ");
        at += size;
        left -= size;
    }
    return left == 0 ? 0 : fail(err, ERROR_PROTOCOL, EPROTO, "system call filter: malformed");
}

static int drop_everything(const struct runner *runner, struct error *err)
{
    sigset_t none;
    (void)sigemptyset(&none);
    for (int signal_number = 1; signal_number < NSIG; signal_number++)
        (void)signal(signal_number, SIG_DFL);
    (void)syscall(SYS_keyctl, KEYCTL_JOIN_SESSION_KEYRING, NULL);
    int r = become_user(runner->start, runner->account, err);
    if (r == 0)
        r = enter_workdir(runner, err);
    if (r < 0)
        return r;
    (void)umask(runner->start->umask);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "no_new_privs: ");
    if (runner->start->flags & START_SCOPED) {
        r = scope_sockets(err);
        if (r < 0)
            return r;
    }
    return load_filters(runner, err);
}

static const char *last_component(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

static int execute(const struct runner *runner, struct error *err)
{
    const struct start *start = runner->start;
    const char *shell = runner->account->shell;
    char login[280];
    (void)snprintf(login, sizeof(login), "%s%.256s",
                   start->flags & START_SHELL_LOGIN ? "-" : "", last_component(shell));
    char *const shell_argv[] = {login, NULL};
    const char *file = start->n_argv > 0 ? start->argv[0] : shell;
    char *const *argv = start->n_argv > 0 ? (char *const *)start->argv : shell_argv;
    environ = runner->environment;
    (void)execvp(file, argv);
    struct stat st;
    if (errno == ENOENT && strchr(file, '/') && stat(file, &st) == 0)
        return fail(err, ERROR_NOT_EXECUTABLE, ENOENT,
                    "%s: cannot be executed: its interpreter is not in the sandbox", file);
    if (errno == ENOENT || errno == ENOTDIR)
        return fail(err, ERROR_NO_COMMAND, errno, "%s: no such command in the sandbox", file);
    return fail(err, ERROR_NOT_EXECUTABLE, errno, "%s: cannot be executed: ", file);
}

static _Noreturn void run(const struct runner *runner, int report_fd)
{
    struct error err = {0};
    int r = setup_stdio(runner, &err);
    /* the filter comes last and lets a write pass */
    if (r == 0)
        r = drop_everything(runner, &err);
    if (r == 0)
        r = execute(runner, &err);
    if (fd_write_all(report_fd, &err, sizeof(err)) < 0)
        _exit(126);
    _exit(125);
}

static pid_t spawn(const struct runner *runner, struct error *err)
{
    int pipe_fds[2];
    if (pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "pipe: ");
    _cleanup_close_ int report = pipe_fds[0];
    pid_t pid = fork();
    if (pid == 0)
        run(runner, pipe_fds[1]);
    fd_close(pipe_fds[1]);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, errno, "fork: ");
    struct error told = {0};
    int r = fd_read_exactly(report, &told, sizeof(told));
    if (r == -ENODATA)
        return pid; /* closed by exec */
    (void)waitpid(pid, NULL, 0);
    if (r < 0 || told.errnum == 0)
        return fail(err, ERROR_SYSTEM, r, "start the command: ");
    told.text[sizeof(told.text) - 1] = '\0';
    *err = told;
    return -told.errnum;
}

static void free_environment(char ***environment)
{
    for (char **p = *environment; p && *p; p++)
        free(*p);
    free(*environment);
}

pid_t init_run_command(const struct start *start, const struct account *account,
                       const int stdio[static 3], int filter_fd, struct error *err)
{
    const void *filter = NULL;
    size_t length = 0;
    int r = memfd_map(filter_fd, FILTER_MAX, &filter, &length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "system call filter: ");
    _cleanup_(free_environment) char **environment = init_environment(start, account);
    if (!environment)
        return fail(err, ERROR_SYSTEM, ENOMEM, "environment: ");
    struct runner runner = {
        .start = start,
        .account = account,
        .stdio = stdio,
        .environment = environment,
        .filters = filter,
        .filters_length = length,
    };
    pid_t pid = spawn(&runner, err);
    (void)munmap((void *)filter, length);
    return pid;
}
