/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that cannot be read on is no shorter one, nor a tree a smaller one. */
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

static char path[] = "/tmp/isolate-unit-XXXXXX";

static int set_up(void **state)
{
    return mkdtemp(path) ? 0 : -1;
}

static int tear_down(void **state)
{
    return rmdir(path);
}

static void test_entries_but_dots(void **state)
{
    struct dirent *entry = NULL;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(mkdirat(fd, "one", 0700), 0);
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    assert_non_null(dir);
    assert_int_equal(dir_next(dir, &entry), 1);
    assert_string_equal(entry->d_name, "one");
    assert_int_equal(dir_next(dir, &entry), 0);
    assert_int_equal(unlinkat(fd, "one", AT_REMOVEDIR), 0);
}

static void test_failure_is_no_end(void **state)
{
    struct dirent *entry = NULL;
    int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_true(fd >= 0);
    _cleanup_closedir_ DIR *dir = fdopendir(fd);
    assert_non_null(dir);
    assert_int_equal(close(fd), 0);
    assert_int_equal(dir_next(dir, &entry), -EBADF);
}

static void test_stream_takes_its_fd(void **state)
{
    errno = 0;
    assert_null(dir_stream(dir_open_at(AT_FDCWD, "/no/such/directory")));
    assert_int_equal(errno, ENOENT);
    int fd = open("/proc/self/exe", O_RDONLY | O_CLOEXEC); /* no directory */
    assert_true(fd >= 0);
    assert_null(dir_stream(fd));
    assert_int_equal(errno, ENOTDIR);
    assert_int_equal(fcntl(fd, F_GETFD), -1);
}

/* With so few fds that the tree is not gone through to its end. */
static void test_tree_for_want_of_fds(void **state)
{
    uint64_t bytes = 0;
    uint64_t entries = 0;
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    _cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int at = dup_cloexec(top);
    for (int i = 0; i < 20; i++) {
        assert_int_equal(mkdirat(at, "below", 0700), 0);
        int next = dir_open_at(at, "below");
        assert_true(next >= 0);
        (void)close(at);
        at = next;
    }
    assert_int_equal(tree_usage(top, &bytes, &entries), 0);
    assert_int_equal(entries, 20);
    /* the last one is that of a directory that is opened, or of its stream */
    for (int left = 4; left <= 5; left++) {
        const struct rlimit few = {(rlim_t)(at + 1 + left), before.rlim_max};
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &few), 0);
        int r = tree_usage(top, &bytes, &entries);
        assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
        assert_int_equal(r, -EMFILE);
    }
    assert_int_equal(tree_remove(top, "below"), 0);
}

/* What is left at the end of its time goes with the next call, and nothing beside it. */
static void test_tree_until(void **state)
{
    _cleanup_close_ int top = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    assert_int_equal(mkdirat(top, "tree", 0700), 0);
    assert_int_equal(tree_remove_until(top, "tree", 1), 0); /* without anything in it */
    assert_int_equal(mkdirat(top, "tree", 0700), 0);
    assert_int_equal(mkdirat(top, "tree/below", 0700), 0);
    assert_int_equal(mkdirat(top, "tree/below/one", 0700), 0);
    assert_int_equal(tree_remove_until(top, "tree", 1), -EAGAIN);
    assert_int_equal(faccessat(top, "tree/below/one", F_OK, 0), 0);
    assert_int_equal(tree_remove_until(top, "tree", time_now_ms() + 60000), 0);
    assert_int_equal(faccessat(top, "tree", F_OK, 0), -1);
    assert_int_equal(tree_remove_until(top, "tree", 1), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_but_dots),    cmocka_unit_test(test_failure_is_no_end),
        cmocka_unit_test(test_stream_takes_its_fd), cmocka_unit_test(test_tree_for_want_of_fds),
        cmocka_unit_test(test_tree_until),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
