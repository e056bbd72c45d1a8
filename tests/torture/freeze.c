/* SPDX-License-Identifier: Apache-2.0 */
/* Stops a process at an exact point: `freeze PID N` lets PID, which waits for work, do N
 * entries and exits of system calls, counted from the moment at which it has work, and holds it
 * there. Says "ready" when it counts and "frozen" when it is there; it goes on when stdin ends,
 * unless somebody has killed it. */
#include <errno.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/ptrace.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static void say(const char *word)
{
    (void)puts(word);
    (void)fflush(stdout);
}

/* Calls in which it waits for the next order, or for an answer. */
static bool is_wait(unsigned long number)
{
#ifdef SYS_epoll_wait
    if (number == SYS_epoll_wait)
        return true;
#endif
    return number == SYS_recvmsg || number == SYS_epoll_pwait;
}

/* The next stop of pid at a system call; false at its end. Its signals are passed on. */
static bool step(pid_t pid)
{
    int status = 0;
    long number = 0;
    for (;;) {
        if (ptrace(PTRACE_SYSCALL, pid, NULL, number) < 0 ||
            waitpid(pid, &status, __WALL) != pid || !WIFSTOPPED(status))
            return false;
        number = WSTOPSIG(status);
        if (number == (SIGTRAP | 0x80))
            return true;
        if (number == SIGTRAP || status >> 16)
            number = 0;
    }
}

/* Until it has done that many; waits, and waits that were in vain, do not count. */
static bool run(pid_t pid, long left)
{
    struct __ptrace_syscall_info info;
    bool waits = true;
    while (step(pid)) {
        if (ptrace(PTRACE_GET_SYSCALL_INFO, pid, sizeof(info), &info) <= 0)
            return false;
        if (info.op == PTRACE_SYSCALL_INFO_ENTRY)
            waits = is_wait(info.entry.nr);
        if (waits && (info.op == PTRACE_SYSCALL_INFO_ENTRY || info.exit.is_error))
            continue;
        if (--left <= 0)
            return true;
    }
    return false;
}

int main(int argc, char **argv)
{
    int status = 0;
    char byte = 0;
    if (argc != 3)
        return 2;
    pid_t pid = (pid_t)strtol(argv[1], NULL, 10);
    if (ptrace(PTRACE_SEIZE, pid, NULL, PTRACE_O_TRACESYSGOOD) < 0 ||
        ptrace(PTRACE_INTERRUPT, pid, NULL, NULL) < 0 || waitpid(pid, &status, __WALL) != pid)
        return 1;
    say("ready");
    if (!run(pid, strtol(argv[2], NULL, 10)))
        return 0;
    say("frozen");
    return read(0, &byte, 1) < 0;
}
