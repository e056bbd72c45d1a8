/* SPDX-License-Identifier: Apache-2.0 */
/* Processes by pidfd. Runs in every process; takes no outside input. */
#include "sys/process.h"

#include <fcntl.h>
#include <linux/close_range.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/syscall.h>
#include <time.h>

pid_t process_clone(uint64_t flags, int cgroup_fd, int *ret_pidfd)
{
    int pidfd = -EBADF;
    struct clone_args arguments = {
        .flags = flags | CLONE_PIDFD,
        .pidfd = (uint64_t)(uintptr_t)&pidfd,
        /* a sibling tells its end as we do */
        .exit_signal = flags & CLONE_PARENT ? 0 : SIGCHLD,
    };
    if (cgroup_fd >= 0) {
        arguments.flags |= CLONE_INTO_CGROUP;
        arguments.cgroup = (uint64_t)cgroup_fd;
    }
    long pid = syscall(SYS_clone3, &arguments, sizeof(arguments));
    if (pid < 0)
        return -errno;
    if (pid > 0)
        *ret_pidfd = pidfd;
    return (pid_t)pid;
}

int pidfd_open_pid(pid_t pid)
{
    long fd = syscall(SYS_pidfd_open, pid, 0);
    return fd < 0 ? -errno : (int)fd;
}

int pidfd_signal(int pidfd, int signal)
{
    return syscall(SYS_pidfd_send_signal, pidfd, signal, NULL, 0) < 0 ? -errno : 0;
}

int pidfd_wait(int pidfd, int timeout_ms)
{
    struct pollfd poll_fd = {.fd = pidfd, .events = POLLIN};
    uint64_t end = time_now_ms() + (timeout_ms > 0 ? (uint64_t)timeout_ms : 0);
    for (;;) {
        int n = poll(&poll_fd, 1, timeout_ms);
        if (n >= 0)
            return n;
        if (errno != EINTR)
            return -errno;
        if (timeout_ms > 0) {
            uint64_t now = time_now_ms();
            timeout_ms = now < end ? (int)(end - now) : 0;
        }
    }
}

int exec_fd(int fd, char *const *argv, char *const *environment)
{
    (void)syscall(SYS_execveat, fd, "", argv, environment, AT_EMPTY_PATH);
    return -errno;
}

int close_from(int first)
{
    return syscall(SYS_close_range, first, ~0U, 0) < 0 ? -errno : 0;
}

static int by_number(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

int close_others(int *fds, size_t n)
{
    unsigned first = 3;
    qsort(fds, n, sizeof(*fds), by_number);
    for (size_t i = 0; i < n; i++) {
        if (fds[i] < (int)first)
            continue;
        if (fds[i] > (int)first && syscall(SYS_close_range, first, fds[i] - 1, 0) < 0)
            return -errno;
        first = (unsigned)fds[i] + 1;
    }
    return close_from((int)first);
}

static uint64_t clock_us(clockid_t clock)
{
    struct timespec now;
    (void)clock_gettime(clock, &now);
    return (uint64_t)now.tv_sec * 1000000 + (uint64_t)now.tv_nsec / 1000;
}

uint64_t time_now_us(void)
{
    return clock_us(CLOCK_MONOTONIC);
}

uint64_t time_cpu_us(void)
{
    return clock_us(CLOCK_PROCESS_CPUTIME_ID);
}

uint64_t time_wall_us(void)
{
    return clock_us(CLOCK_REALTIME);
}

uint64_t time_now_ms(void)
{
    return time_now_us() / 1000;
}
