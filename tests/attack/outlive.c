/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 24: outlive the sandbox. `outlive FILE HOW` leaves a process behind that appends to
 * FILE for ever (for a minute in fact), and ends; with HOW "stay" it does not end itself. */
#include "attempt.h"

#include <sys/prctl.h>

#define BEATS 6000

static void ignore_everything(void)
{
    sigset_t all;
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_IGN);
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_SETMASK, &all, NULL);
}

static void beat(int fd)
{
    (void)!write(fd, ".", 1);
    (void)usleep(10000);
}

/* Each beat in a new process: whoever kills by pid is always late. */
static void run_away(int fd)
{
    for (int i = 0; i < BEATS; i++) {
        beat(fd);
        if (fork() > 0)
            _exit(0);
        (void)setsid();
    }
}

static void linger(int fd)
{
    for (int i = 0; i < BEATS; i++)
        beat(fd);
}

int main(int argc, char **argv)
{
    if (argc != 3)
        return 2;
    int fd = open(argv[1], O_WRONLY | O_CREAT | O_APPEND, 0666);
    if (fd < 0)
        return 1;
    if (strcmp(argv[2], "stay") == 0) {
        ignore_everything();
        linger(fd);
        return 0;
    }
    if (fork() == 0) {
        (void)setsid();
        if (fork() > 0)
            _exit(0);
        ignore_everything();
        (void)prctl(PR_SET_PDEATHSIG, 0);
        for (int i = 0; i < 3; i++)
            (void)close(i);
        if (strcmp(argv[2], "stop") == 0) {
            (void)fork();
            beat(fd);
            (void)raise(SIGSTOP);
        }
        if (strcmp(argv[2], "run-away") == 0)
            run_away(fd);
        linger(fd);
        _exit(0);
    }
    (void)usleep(100000);
    return 0;
}
