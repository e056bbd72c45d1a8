/* SPDX-License-Identifier: Apache-2.0 */
/* A directory that cannot be read on is no shorter one. */
#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
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

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_entries_but_dots),
        cmocka_unit_test(test_failure_is_no_end),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
