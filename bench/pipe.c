/* SPDX-License-Identifier: Apache-2.0 */
/* Sends zeros through a command's stdin and counts what comes out of its stdout:
 *     pipe BYTES PROGRAM [ARG…]
 * prints the nanoseconds from before posix_spawn until the command has ended and everything has
 * been read. A writer and a reader of its own, so that the command alone differs between runs.
 * Needs no privilege and nothing of the project. */
#include <errno.h>
#include <fcntl.h>
#include <inttypes.h>
#include <signal.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (128U << 10) /* as coreutils cat reads */

extern char **environ;

static char block[BLOCK];

static uint64_t now_ns(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (uint64_t)now.tv_sec * 1000000000U + (uint64_t)now.tv_nsec;
}

/* In a child of its own: writes and exits, 0 if all could be written. */
static _Noreturn void writer(int fd, uint64_t bytes)
{
    while (bytes > 0) {
        ssize_t n = write(fd, block, bytes < BLOCK ? bytes : BLOCK);
        if (n < 0 && errno != EINTR)
            _exit(1);
        bytes -= n > 0 ? (uint64_t)n : 0;
    }
    _exit(0);
}

static uint64_t count(int fd)
{
    uint64_t bytes = 0;
    for (;;) {
        ssize_t n = read(fd, block, BLOCK);
        if (n == 0)
            return bytes;
        if (n > 0)
            bytes += (uint64_t)n;
        else if (errno != EINTR)
            return bytes;
    }
}

static int spawn(char **argv, int in, int out, pid_t *ret)
{
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_adddup2(&actions, in, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, out, 1);
    int r = posix_spawnp(ret, argv[0], &actions, NULL, argv, environ);
    (void)posix_spawn_file_actions_destroy(&actions);
    return r;
}

/* 0 with the time, or -1 after a message. */
static int transfer(char **argv, uint64_t bytes, uint64_t *ret_ns)
{
    int in[2];
    int out[2];
    pid_t command = 0;
    int status = 0;
    int written = 0;
    if (pipe2(in, O_CLOEXEC) < 0 || pipe2(out, O_CLOEXEC) < 0)
        return -1;
    uint64_t start = now_ns();
    int r = spawn(argv, in[0], out[1], &command);
    if (r != 0) {
        (void)fprintf(stderr, "pipe: %s: %s\n", argv[0], strerror(r));
        return -1;
    }
    pid_t writing = fork();
    if (writing == 0) {
        (void)close(in[0]);
        (void)close(out[0]);
        (void)close(out[1]);
        writer(in[1], bytes);
    }
    (void)close(in[0]);
    (void)close(in[1]);
    (void)close(out[1]);
    uint64_t counted = count(out[0]);
    (void)waitpid(command, &status, 0);
    (void)waitpid(writing, &written, 0);
    *ret_ns = now_ns() - start;
    if (status == 0 && written == 0 && counted == bytes)
        return 0;
    (void)fprintf(stderr, "pipe: %s: wait status %d, %" PRIu64 " of %" PRIu64 " bytes came\n",
                  argv[0], status, counted, bytes);
    return -1;
}

int main(int argc, char **argv)
{
    char *end = NULL;
    uint64_t ns = 0;
    uint64_t bytes = argc > 2 ? strtoull(argv[1], &end, 10) : 0;
    if (bytes == 0 || *end) {
        (void)fprintf(stderr, "usage: pipe BYTES PROGRAM [ARG…]\n");
        return 2;
    }
    (void)signal(SIGPIPE, SIG_IGN);
    if (transfer(argv + 2, bytes, &ns) < 0)
        return 1;
    (void)printf("%" PRIu64 "\n", ns);
    return 0;
}
