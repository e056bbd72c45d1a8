/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the host provides, found as they should be or not. What a file is not may only
 * show under a sanitizer: then memory behind what was read is looked at. */
#include "init/init.h"

#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>

/* Files of sysfs say that they are as long as a page, and are shorter when they are read: so is
 * one that the sandbox cuts short between the two. */
static void test_shorter_than_it_says(void **state)
{
    char content[4097];
    struct error err = {0};
    _cleanup_buffer_ struct buffer now = {0};
    if (file_read_at(AT_FDCWD, "/sys/kernel/uevent_seqnum", sizeof(content), &now) < 0) {
        skip();
        return;
    }
    memset(content, 0, sizeof(content));
    memset(content, 'x', sizeof(content) - 1);
    memcpy(content, now.data, now.length);
    const struct start start = {
        .n_files = 1,
        .files = {{"/sys/kernel/uevent_seqnum", content, 0}},
    };
    /* it is taken for another one, and cannot be replaced */
    assert_true(init_provide(&start, false, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_shorter_than_it_says),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
