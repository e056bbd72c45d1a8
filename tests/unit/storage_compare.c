/* SPDX-License-Identifier: Apache-2.0 */
/* Comparison of entries: what equal inode numbers and times of change prove, and what not. Two
 * files stand for one file and its copy in a snapshot: what fstat told of them is set here. */
#include "storage/compare.h"

#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

#define FRACTION 123456789

struct pair {
    struct compare_entry was;
    struct compare_entry now;
};

static void pair_clear(struct pair *pair)
{
    compare_entry_clear(&pair->was);
    compare_entry_clear(&pair->now);
}
#define _cleanup_pair_ _cleanup_(pair_clear)

static void entry_make(const char *content, struct compare_entry *ret)
{
    ret->fd = memfd_of("entry", content, strlen(content), 0644);
    assert_true(ret->fd >= 0);
    assert_int_equal(fstat(ret->fd, &ret->st), 0);
    ret->st.st_ino = 1000;
    ret->st.st_mtim = (struct timespec){1600000000, FRACTION};
    ret->st.st_ctim = (struct timespec){1700000000, FRACTION};
}

static void pair_make(const char *was, const char *now, struct pair *ret)
{
    entry_make(was, &ret->was);
    entry_make(now, &ret->now);
}

static void set_fraction(struct pair *pair, long nanoseconds)
{
    pair->was.st.st_ctim.tv_nsec = nanoseconds;
    pair->now.st.st_ctim.tv_nsec = nanoseconds;
}

static int compare(const struct pair *pair)
{
    return compare_entries(&pair->was, &pair->now, true);
}

static void test_untouched_is_not_read(void **state)
{
    _cleanup_pair_ struct pair pair;
    pair_make("one", "two", &pair);
    assert_int_equal(compare(&pair), 0);
    assert_int_equal(compare_entries(&pair.was, &pair.now, false), 1);
    pair.now.st.st_ctim.tv_nsec++;
    assert_int_equal(compare(&pair), 1);
    pair.now.st.st_ctim.tv_nsec--;
    pair.now.st.st_ino++;
    assert_int_equal(compare(&pair), 1);
}

static void test_whole_seconds_prove_nothing(void **state)
{
    _cleanup_pair_ struct pair pair;
    _cleanup_pair_ struct pair same;
    pair_make("one", "two", &pair);
    set_fraction(&pair, 0);
    assert_int_equal(compare(&pair), 1);
    pair_make("one", "one", &same);
    set_fraction(&same, 0);
    assert_int_equal(compare(&same), 0);
}

/* What stat tells counts in any case. */
static void test_stat_comes_first(void **state)
{
    for (unsigned i = 0; i < 5; i++) {
        _cleanup_pair_ struct pair pair;
        pair_make("one", "one", &pair);
        struct stat *now = &pair.now.st;
        now->st_size += i == 0;
        now->st_mtim.tv_sec += i == 1;
        now->st_mode ^= i == 2 ? 0111 : 0;
        now->st_uid += i == 3;
        now->st_gid += i == 4;
        assert_int_equal(compare(&pair), 1);
        set_fraction(&pair, 0);
        assert_int_equal(compare(&pair), 1);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_untouched_is_not_read),
        cmocka_unit_test(test_whole_seconds_prove_nothing),
        cmocka_unit_test(test_stat_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
