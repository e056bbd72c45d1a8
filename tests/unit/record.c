/* SPDX-License-Identifier: Apache-2.0 */
/* A record that cannot be read now is not a damaged one, whose clone and ids nobody knows. */
#include "daemon/record.h"
#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>

#define ID "t_1790000000000000000"

static const char whole[] =
    "{\"id\": \"" ID "\", \"storage\": \"btrfs\", \"engine\": \"native\"}";
static char path[] = "/tmp/isolate-unit-XXXXXX";

static int set_up(void **state)
{
    return mkdtemp(path) ? 0 : -1;
}

static int tear_down(void **state)
{
    return rmdir(path);
}

static int put(int dir_fd, const char *text)
{
    return file_replace_at(dir_fd, ID, text, strlen(text), false);
}

static void test_damaged(void **state)
{
    static const char *const texts[] = {"",    "{", "[]", "{\"id\": \"x\"}", "{\"id\": 1}",
                                        "\x01"};
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        _cleanup_record_ struct record record = {0};
        assert_int_equal(put(fd, texts[i]), 0);
        assert_int_equal(record_read_damaged(fd, ID, &record, NULL), 1);
        assert_string_equal(record.id, ID);
        assert_string_equal(record.storage, storage_drivers[0]->name);
    }
    assert_int_equal(unlinkat(fd, ID, 0), 0);
}

static void test_for_want_of_fds(void **state)
{
    struct rlimit before;
    assert_int_equal(getrlimit(RLIMIT_NOFILE, &before), 0);
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_record_ struct record record = {0};
    const struct rlimit none = {(rlim_t)fd + 1, before.rlim_max};
    assert_int_equal(put(fd, whole), 0);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &none), 0);
    int r = record_read_damaged(fd, ID, &record, NULL);
    assert_int_equal(setrlimit(RLIMIT_NOFILE, &before), 0);
    assert_int_equal(r, -EMFILE);
    assert_int_equal(record_read_damaged(fd, ID, &record, NULL), 0);
    assert_string_equal(record.storage, "btrfs");
    assert_int_equal(unlinkat(fd, ID, 0), 0);
    assert_int_equal(record_read_damaged(fd, ID, &record, NULL), -ENOENT);
}

/* A request of megabytes is not parsed for who looks for a name; it may even be damaged. */
static void test_head(void **state)
{
    static char long_word[1 << 20];
    _cleanup_close_ int fd = open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int lock = -EBADF;
    _cleanup_record_ struct record record = {
        .id = ID, .name = "long", .storage = "btrfs", .first_id = 1000000, .owner_uid = 1000};
    _cleanup_record_ struct record head = {0};
    _cleanup_record_ struct record full = {0};
    char found[CLONE_NAME_SIZE];
    memset(long_word, 'x', sizeof(long_word) - 1);
    record.request = json_pack("{s:[s]}", "argv", long_word);
    assert_int_equal(record_write(fd, &record, &lock, NULL), 0);
    assert_int_equal(record_read_head(fd, ID, &head, NULL), 0);
    assert_string_equal(head.name, "long");
    assert_int_equal(head.owner_uid, 1000);
    assert_null(head.request);
    assert_int_equal(record_read(fd, ID, &full, NULL), 0);
    assert_true(json_equal(full.request, record.request));
    assert_int_equal(pwrite(lock, "{", 1, 500000), 1);
    assert_int_equal(ftruncate(lock, 600000), 0);
    assert_int_equal(record_find_name(fd, "long", 1000, found), 1);
    assert_string_equal(found, ID);
    assert_int_equal(record_find_name(fd, "long", 1001, found), 0);
    record_clear(&full);
    assert_int_equal(record_read(fd, ID, &full, NULL), -EINVAL);
    assert_int_equal(record_read_damaged(fd, ID, &full, NULL), 1);
    assert_string_equal(full.storage, "btrfs");
    assert_int_equal(full.first_id, 1000000);
    assert_int_equal(unlinkat(fd, ID, 0), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_damaged),
        cmocka_unit_test(test_for_want_of_fds),
        cmocka_unit_test(test_head),
    };
    return cmocka_run_group_tests(tests, set_up, tear_down);
}
