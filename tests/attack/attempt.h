/* SPDX-License-Identifier: Apache-2.0 */
/* What every attack program shares: it prints one line per attempt,
 *     NAME: SUCCEEDED        NAME: denied ERRNO        NAME: killed SIGNAL
 * An attempt runs in a child of its own, so that one that succeeds (a new namespace, another
 * root) or dies (SIGSYS) does not touch the next. ENODATA stands for "there, but empty". */
#pragma once

#ifndef _GNU_SOURCE
#define _GNU_SOURCE
#endif
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#define ATTEMPT_SECONDS 5
#define HIGH(value)     (0x12300000000UL | (unsigned long)(value))
#define UNUSED          __attribute__((unused))

static UNUSED void report(const char *name, long result, int error)
{
    const char *word = strerrorname_np(error);
    if (result >= 0)
        (void)printf("%s: SUCCEEDED\n", name);
    else if (word)
        (void)printf("%s: denied %s\n", name, word);
    else
        (void)printf("%s: denied %d\n", name, error);
    (void)fflush(stdout);
}

static UNUSED long fail_with(int error)
{
    errno = error;
    return -1;
}

/* attack(data) is negative, with errno, where it was denied. */
static UNUSED void attempt_with(const char *name, long (*attack)(const void *data),
                                const void *data)
{
    (void)fflush(stdout);
    pid_t pid = fork();
    if (pid == 0) {
        (void)alarm(ATTEMPT_SECONDS);
        errno = 0;
        long result = attack(data);
        _exit(result >= 0 ? 0 : errno > 0 && errno < 255 ? errno : 255);
    }
    int status = 0;
    while (pid > 0 && waitpid(pid, &status, 0) < 0 && errno == EINTR)
        continue;
    if (pid < 0) {
        report(name, -1, errno);
    } else if (WIFSIGNALED(status)) {
        (void)printf("%s: killed SIG%s\n", name, sigabbrev_np(WTERMSIG(status)));
        (void)fflush(stdout);
    } else {
        report(name, WEXITSTATUS(status) == 0 ? 0 : -1, WEXITSTATUS(status));
    }
}

static UNUSED long attempt_without_data(const void *data)
{
    long (*const *attack)(void) = data;
    return (*attack)();
}

static UNUSED void attempt(const char *name, long (*attack)(void))
{
    attempt_with(name, attempt_without_data, &attack);
}

static UNUSED int open_and_close(const char *path, int flags)
{
    int fd = open(path, flags | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0600);
    return fd < 0 ? -1 : close(fd);
}

/* 0 where at least one byte came, ENODATA where the file is there and empty. Some files of proc
 * want to be read in units of eight. */
static UNUSED int read_something(const char *path)
{
    char unit[8] = "";
    int fd = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK);
    if (fd < 0)
        return -1;
    ssize_t n = read(fd, unit, sizeof(unit));
    int error = n == 0 ? ENODATA : errno;
    (void)close(fd);
    return n > 0 ? 0 : (int)fail_with(error);
}

/* Makes the terminal on fd 0 the controlling one: of a new session, unless there is one
 * already. */
static UNUSED void take_terminal(void)
{
    if (open_and_close("/dev/tty", O_RDWR) == 0)
        return;
    (void)signal(SIGHUP, SIG_IGN);
    (void)setsid();
    (void)ioctl(0, TIOCSCTTY, 0);
}

/* Gives it back: an exit of the session's leader would hang it up. */
static UNUSED void release_terminal(void)
{
    if (getsid(0) == getpid())
        (void)ioctl(0, TIOCNOTTY);
}
