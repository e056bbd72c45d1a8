/* SPDX-License-Identifier: Apache-2.0 */
/* How often a second a command can be started: JOBS of them run at any time, for MS
 * milliseconds. Prints how many ended and the milliseconds until the last of those that were
 * begun had ended. A command that ends with anything but 0 ends the measurement. */
#include <fcntl.h>
#include <spawn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

static double now_ms(void)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_MONOTONIC, &now);
    return (double)now.tv_sec * 1e3 + (double)now.tv_nsec / 1e6;
}

static int start(char **argv, const posix_spawn_file_actions_t *actions)
{
    pid_t pid = 0;
    int r = posix_spawnp(&pid, argv[0], actions, NULL, argv, environ);
    if (r != 0)
        (void)fprintf(stderr, "parallel: %s: %s\n", argv[0], strerror(r));
    return r;
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        (void)fprintf(stderr, "usage: parallel JOBS MS PROGRAM [ARG…]\n");
        return 2;
    }
    long jobs = strtol(argv[1], NULL, 10);
    double length_ms = strtod(argv[2], NULL);
    long running = 0;
    unsigned long ended = 0;
    int failed = 0;
    posix_spawn_file_actions_t actions;
    (void)posix_spawn_file_actions_init(&actions);
    (void)posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDWR, 0);
    (void)posix_spawn_file_actions_adddup2(&actions, 0, 1);
    double begin_ms = now_ms();
    for (; running < jobs && !failed; running += !failed)
        failed = start(argv + 3, &actions);
    while (running > 0) {
        int status = 0;
        if (wait(&status) < 0)
            break;
        running--;
        if (status != 0 && !failed) {
            (void)fprintf(stderr, "parallel: %s: wait status %#x\n", argv[3], status);
            failed = 1;
        }
        ended++;
        if (!failed && now_ms() - begin_ms < length_ms) {
            failed = start(argv + 3, &actions);
            running += !failed;
        }
    }
    (void)printf("%lu %.3f\n", ended, now_ms() - begin_ms);
    return failed ? 1 : 0;
}
