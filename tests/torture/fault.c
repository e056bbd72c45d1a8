/* SPDX-License-Identifier: Apache-2.0 */
/* Fails one system call of isolate's own: `fault REPORT N ERRNO COMMAND…` runs COMMAND and lets
 * the N-th call that can fail so, of it and of all that it starts, return ERRNO without being
 * made. Programs whose names do not begin with "isolate" do not count, nor does what a loader
 * does before their first line. REPORT gets "CALL PROGRAM", or "none COUNT" when there were
 * fewer calls. Ends when all that it has started has ended, with COMMAND's status; killed, it
 * takes all of that along.
 *
 * `fault -w REPORT …`, for a daemon, counts in windows: SIGUSR1 opens one, for the N that is
 * then in the file REPORT.n, which it removes when it counts, and the next SIGUSR1 closes it,
 * behind which there is a REPORT. SIGTERM is passed on to COMMAND. */
#include "fault.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

enum { PROCESSES = 1024, NAME = 64 };

struct process {
    pid_t pid;
    bool counts;  /* it is one of isolate's programs */
    bool runs;    /* it is past its loader */
    int pending;  /* what the call in which it is is to return, else 0 */
    bool changed; /* that call's first argument, which was: */
    unsigned long argument;
    char name[NAME];
};

struct fault {
    const char *report;
    const struct fault_kind *kind;
    unsigned long left, count;
    bool windows; /* counts in windows, and follows what does not count now, too */
    bool counts;
    bool done;
    pid_t first;
    struct process processes[PROCESSES];
};

static struct fault fault_now; /* of the one process that this is, for its signals */

/* Also of a signal's. */
static int report(const struct fault *fault, const char *word, const char *of)
{
    int fd = open(fault->report, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    int r = fd < 0 || dprintf(fd, "%s %s\n", word, of) < 0 || close(fd) < 0 ? -1 : 0;
    if (r < 0)
        (void)dprintf(2, "fault: %s: %s\n", fault->report, strerror(errno));
    return r;
}

static int report_count(const struct fault *fault)
{
    char count[32];
    (void)snprintf(count, sizeof(count), "%lu", fault->count);
    return report(fault, "none", count);
}

/* Whoever sends it does so when nothing is being done. */
static void turn_window(struct fault *fault)
{
    char path[4096], text[32] = "";
    (void)snprintf(path, sizeof(path), "%s.n", fault->report);
    if (fault->counts) {
        fault->counts = false;
        if (!fault->done && report_count(fault) < 0)
            _exit(99);
        return;
    }
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd < 0 || read(fd, text, sizeof(text) - 1) <= 0 || close(fd) < 0)
        _exit(99);
    fault->left = strtoul(text, NULL, 10);
    fault->count = 0;
    fault->done = false;
    fault->counts = true;
    (void)unlink(path);
}

static void on_signal(int number)
{
    int before = errno;
    if (number == SIGUSR1)
        turn_window(&fault_now);
    else
        (void)kill(fault_now.first, number);
    errno = before;
}

/* The base name of its first argument: what is executed from a memfd has no other. */
static void learn_name(struct process *process)
{
    char path[64], line[256] = "";
    (void)snprintf(path, sizeof(path), "/proc/%d/cmdline", process->pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    if (fd >= 0) {
        if (read(fd, line, sizeof(line) - 1) < 0)
            line[0] = 0;
        (void)close(fd);
    }
    const char *slash = strrchr(line, '/');
    (void)snprintf(process->name, sizeof(process->name), "%.63s", slash ? slash + 1 : line);
    process->counts = strncmp(process->name, "isolate", 7) == 0;
}

static struct process *find(struct fault *fault, pid_t pid)
{
    struct process *free_one = NULL;
    for (unsigned i = 0; i < PROCESSES; i++) {
        if (fault->processes[i].pid == pid)
            return &fault->processes[i];
        if (!free_one && fault->processes[i].pid == 0)
            free_one = &fault->processes[i];
    }
    if (!free_one) {
        (void)fprintf(stderr, "fault: more than %d processes\n", PROCESSES);
        exit(99);
    }
    /* a fork of one that is past its loader; for others exec says so */
    *free_one = (struct process){.pid = pid, .runs = true};
    learn_name(free_one);
    return free_one;
}

static void forget(struct fault *fault, pid_t pid)
{
    for (unsigned i = 0; i < PROCESSES; i++)
        if (fault->processes[i].pid == pid)
            fault->processes[i] = (struct process){0};
}

static void inject(struct fault *fault, struct process *process, const struct fault_call *call,
                   unsigned long first_argument)
{
    fault->done = true;
    process->pending = call->number == SYS_brk ? 0 : -fault->kind->number;
    process->changed = call->number != SYS_close; /* which closes, whatever it says */
    process->argument = first_argument;
    /* brk has no error: what fails leaves the end where it is, and says where. All else becomes
     * a call that does nothing, and that each filter of isolate's own processes lets through.
     */
    if (call->number != SYS_brk)
        fault_set_call(process->pid, SYS_close);
    if (process->changed)
        fault_set_first_argument(process->pid, call->number == SYS_brk ? 0 : -1UL);
    if (report(fault, call->name, process->name) < 0)
        exit(99);
}

static void at_call(struct fault *fault, struct process *process)
{
    struct __ptrace_syscall_info info;
    if (ptrace(PTRACE_GET_SYSCALL_INFO, process->pid, sizeof(info), &info) <= 0)
        return;
    if (info.op == PTRACE_SYSCALL_INFO_EXIT) {
        if (process->pending)
            fault_set_result(process->pid, process->pending);
        if (process->changed)
            fault_restore_first_argument(process->pid, process->argument);
        process->pending = 0;
        process->changed = false;
        return;
    }
    if (info.op != PTRACE_SYSCALL_INFO_ENTRY)
        return;
    if (info.entry.nr == SYS_set_tid_address)
        process->runs = true;
    if (!process->runs || !fault->counts || fault->done)
        return;
    const struct fault_call *call = fault_find_call(&info, fault->kind);
    if (!call)
        return;
    fault->count++;
    if (fault->count == fault->left)
        inject(fault, process, call, info.entry.args[0]);
}

/* Lets it go on from a stop. */
static void go_on(struct fault *fault, struct process *process, int status)
{
    int number = WSTOPSIG(status), event = status >> 16, deliver = 0;
    if (number == (SIGTRAP | 0x80)) {
        at_call(fault, process);
    } else if (event == PTRACE_EVENT_EXEC) {
        learn_name(process);
        process->runs = false;
        process->pending = 0;
    } else if (event == PTRACE_EVENT_STOP) {
        if (number == SIGSTOP || number == SIGTSTP || number == SIGTTIN || number == SIGTTOU) {
            (void)ptrace(PTRACE_LISTEN, process->pid, NULL, NULL);
            return;
        }
    } else if (event == 0) {
        deliver = number;
    }
    bool watch = process->pending || process->changed ||
                 (process->counts && (fault->windows || !fault->done));
    (void)ptrace(watch ? PTRACE_SYSCALL : PTRACE_CONT, process->pid, NULL, deliver);
}

/* Until all have ended; the status of the first one. */
static int follow(struct fault *fault)
{
    int status = 0, result = 99;
    for (;;) {
        pid_t pid = waitpid(-1, &status, __WALL);
        if (pid < 0 && errno == EINTR)
            continue;
        if (pid < 0)
            return result;
        if (WIFSTOPPED(status)) {
            go_on(fault, find(fault, pid), status);
            continue;
        }
        forget(fault, pid);
        if (pid == fault->first)
            result = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
    }
}

static pid_t start(char **command)
{
    int gate[2];
    if (pipe2(gate, O_CLOEXEC) < 0)
        return -1;
    pid_t pid = fork();
    if (pid == 0) {
        char byte = 0;
        (void)close(gate[1]);
        if (read(gate[0], &byte, 1) == 0)
            (void)execv(command[0], command);
        _exit(99);
    }
    long options = PTRACE_O_TRACESYSGOOD | PTRACE_O_TRACEFORK | PTRACE_O_TRACEVFORK |
                   PTRACE_O_TRACECLONE | PTRACE_O_TRACEEXEC | PTRACE_O_EXITKILL;
    if (pid > 0 && ptrace(PTRACE_SEIZE, pid, NULL, options) < 0) {
        (void)kill(pid, SIGKILL);
        pid = -1;
    }
    (void)close(gate[0]);
    (void)close(gate[1]);
    return pid;
}

int main(int argc, char **argv)
{
    struct fault *fault = &fault_now;
    if (argc > 1 && strcmp(argv[1], "-w") == 0) {
        fault->windows = true;
        argc--;
        argv++;
    }
    int command = fault->windows ? 3 : 4;
    if (argc <= command || !(fault->kind = fault_find_kind(argv[command - 1]))) {
        (void)fprintf(stderr, "usage: fault REPORT N ERRNO COMMAND…\n"
                              "       fault -w REPORT ERRNO COMMAND…\n");
        return 99;
    }
    fault->report = argv[1];
    fault->left = fault->windows ? 0 : strtoul(argv[2], NULL, 10);
    fault->counts = !fault->windows;
    fault->first = start(argv + command);
    if (fault->first < 0) {
        perror("fault");
        return 99;
    }
    if (fault->windows) {
        (void)signal(SIGUSR1, on_signal);
        (void)signal(SIGTERM, on_signal);
    }
    int result = follow(fault);
    if (fault->counts && !fault->done && report_count(fault) < 0)
        return 99;
    return result;
}
