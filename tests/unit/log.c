/* SPDX-License-Identifier: Apache-2.0 */
/* What is said on stderr, and how often: clock_gettime is the linker's __wrap_clock_gettime. */
#include "base/log.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>

static time_t now_s = 1;

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret);

int __wrap_clock_gettime(clockid_t clock, struct timespec *ret)
{
    assert_int_equal(clock, CLOCK_MONOTONIC);
    *ret = (struct timespec){.tv_sec = now_s};
    return 0;
}

/* stderr is a file for as long as a test looks at it. */
static int before = -EBADF;

static int begin(void **state)
{
    before = dup(STDERR_FILENO);
    int fd = memfd_create("stderr", MFD_CLOEXEC);
    if (before < 0 || fd < 0 || dup2(fd, STDERR_FILENO) < 0)
        return -1;
    (void)fd_close(fd);
    now_s += 3600;
    return 0;
}

static int end(void **state)
{
    int r = dup2(before, STDERR_FILENO);
    before = fd_close(before);
    return r < 0 ? -1 : 0;
}

static void assert_said(const char *expected)
{
    char text[4096] = "";
    ssize_t n = pread(STDERR_FILENO, text, sizeof(text) - 1, 0);
    assert_true(n >= 0);
    assert_string_equal(text, expected);
    assert_int_equal(ftruncate(STDERR_FILENO, 0), 0);
    assert_int_equal(lseek(STDERR_FILENO, 0, SEEK_SET), 0);
}

static void test_same_warning(void **state)
{
    for (int i = 0; i < 20; i++)
        log_warning("%s is full", "the disk");
    assert_said("isolate: warning: the disk is full\n");
    log_warning("the disk is %s", "full");
    log_warning("another disk is full");
    log_warning("the disk is full");
    assert_said("isolate: warning: another disk is full\n");
}

static void test_again_after_a_minute(void **state)
{
    log_warning("it goes on");
    now_s += 59;
    log_warning("it goes on");
    assert_said("isolate: warning: it goes on\n");
    now_s += 1;
    log_warning("it goes on");
    log_warning("it goes on");
    assert_said("isolate: warning: it goes on\n");
}

/* What has been said long ago, among many others, may be said again early: nothing is lost. */
static void test_many(void **state)
{
    char expected[64];
    for (int round = 0; round < 2; round++)
        for (int i = 0; i < 40; i++) {
            log_warning("number %d", i);
            (void)snprintf(expected, sizeof(expected), "isolate: warning: number %d\n", i);
            assert_said(expected);
        }
}

static void test_others_every_time(void **state)
{
    for (int i = 0; i < 2; i++) {
        log_error("no");
        log_note("by the way");
    }
    assert_said("isolate: no\nisolate: by the way\nisolate: no\nisolate: by the way\n");
    log_set_quiet(true);
    log_note("by the way");
    log_warning("mind the gap");
    log_set_quiet(false);
    assert_said("isolate: warning: mind the gap\n");
}

static void test_long_and_hostile(void **state)
{
    char text[3000];
    memset(text, 'x', sizeof(text) - 1);
    text[sizeof(text) - 1] = '\0';
    text[0] = '\x1b';
    log_warning("%s", text);
    log_warning("%s", text);
    char said[4096] = "";
    ssize_t n = pread(STDERR_FILENO, said, sizeof(said) - 1, 0);
    assert_true(n > 0);
    assert_memory_equal(said, "isolate: warning: \\x1bxxx", 25);
    assert_ptr_equal(strchr(said, '\n'), said + n - 1); /* one line */
}

static void test_errno_stays(void **state)
{
    errno = ENOTEMPTY;
    log_warning("whatever");
    log_warning("whatever");
    assert_int_equal(errno, ENOTEMPTY);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_same_warning, begin, end),
        cmocka_unit_test_setup_teardown(test_again_after_a_minute, begin, end),
        cmocka_unit_test_setup_teardown(test_many, begin, end),
        cmocka_unit_test_setup_teardown(test_others_every_time, begin, end),
        cmocka_unit_test_setup_teardown(test_long_and_hostile, begin, end),
        cmocka_unit_test_setup_teardown(test_errno_stays, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
