/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel counts for a user, and not for a cgroup: `exhaust hold` takes all that there
 * is of it, says "held" and waits for the end of stdin; `exhaust try` wants one of each. */
#include "attempt.h"

#include <mqueue.h>
#include <sys/inotify.h>
#include <sys/resource.h>
#include <time.h>

static long one_inotify(void)
{
    return inotify_init1(IN_CLOEXEC);
}

static long one_timer(void)
{
    struct sigevent event = {.sigev_notify = SIGEV_SIGNAL, .sigev_signo = SIGUSR1};
    timer_t timer;
    return timer_create(CLOCK_MONOTONIC, &event, &timer);
}

static long one_queue(void)
{
    static int n;
    char name[32];
    struct mq_attr attr = {.mq_maxmsg = 10, .mq_msgsize = 8192};
    (void)snprintf(name, sizeof(name), "/exhaust-%d-%d", getpid(), n++);
    mqd_t queue = mq_open(name, O_RDWR | O_CREAT | O_EXCL, 0600, &attr);
    if (queue >= 0)
        (void)mq_unlink(name); /* it is there as long as it is open */
    return queue;
}

static void take_all(long (*one)(void))
{
    while (one() >= 0)
        continue;
}

int main(int argc, char **argv)
{
    char byte = 0;
    struct rlimit files = {0};
    if (argc == 2 && strcmp(argv[1], "hold") == 0) {
        (void)getrlimit(RLIMIT_NOFILE, &files);
        files.rlim_cur = files.rlim_max;
        (void)setrlimit(RLIMIT_NOFILE, &files);
        take_all(one_inotify);
        take_all(one_queue);
        take_all(one_timer);
        (void)puts("held");
        (void)fflush(stdout);
        return read(0, &byte, 1) < 0;
    }
    attempt("one_inotify", one_inotify);
    attempt("one_timer", one_timer);
    attempt("one_queue", one_queue);
    return 0;
}
