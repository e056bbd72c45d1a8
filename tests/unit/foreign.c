/* SPDX-License-Identifier: Apache-2.0 */
/* Files that a decoder in hostile hands sends, more of them than one message carries, while the
 * servers behind them are being aborted: none is lost, and none is kept. What aborts is the
 * test's own. No privilege. */
#include "daemon/foreign.h"

#include "daemon/servers.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/resource.h>
#include <unistd.h>

#include <cmocka.h>

#define UID    1234
#define ROUNDS 5

static unsigned n_aborted;
static int gate[2]; /* who aborts is at it until the other end is closed */

bool servers_abort_of(uid_t uid, const struct fd_list *files)
{
    assert_int_equal(uid, UID);
    return false;
}

pid_t servers_abort_all(uid_t uid, bool everybodys, int *files, size_t n)
{
    char byte;
    int pidfd = -EBADF;
    assert_int_equal(uid, UID);
    assert_false(everybodys);
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid == 0) {
        (void)close(gate[1]);
        (void)!read(gate[0], &byte, 1);
        _exit(0);
    }
    assert_true(pid > 0);
    fd_close(pidfd);
    n_aborted++;
    return pid;
}

static unsigned count_open(void)
{
    unsigned n = 0;
    struct dirent *entry = NULL;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(AT_FDCWD, "/proc/self/fd"));
    assert_non_null(dir);
    while (dir_next(dir, &entry) > 0)
        n++;
    return n;
}

static void refuse_many(void)
{
    struct fd_list list = {0};
    while (list.n < SOCKET_FDS_MAX) {
        int fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
        assert_true(fd >= 0);
        list.fds[list.n++] = fd;
    }
    assert_true(foreign_refuse(UID, &list));
}

static void test_refused_while_servers_are_aborted(void **state)
{
    struct rlimit limit;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max;
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &limit), 0);
    foreign_open();
    assert_int_equal(pipe2(gate, O_CLOEXEC), 0);
    unsigned before = count_open();
    for (int i = 0; i < ROUNDS; i++)
        refuse_many();
    assert_int_equal(count_open(), before + ROUNDS * SOCKET_FDS_MAX);
    foreign_reap();
    assert_int_equal(count_open(), before + ROUNDS * SOCKET_FDS_MAX);
    fd_close(gate[1]);
    for (int tries = 0; tries < 1000 && count_open() >= before; tries++) {
        foreign_reap();
        (void)poll(NULL, 0, 10);
    }
    assert_int_equal(count_open(), before - 1);
    assert_int_equal(n_aborted, 2); /* what came meanwhile may lie on others */
    fd_close(gate[0]);
    foreign_close_all();
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_refused_while_servers_are_aborted),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
