/* SPDX-License-Identifier: Apache-2.0 */
/* Contents of files where FICLONE is refused, as file systems do that are not here: ioctl is
 * the linker's __wrap_ioctl. */
#include "sys/copy_content.h"

#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>

static int refusal;

int __wrap_ioctl(int fd, unsigned long request, ...);

int __wrap_ioctl(int fd, unsigned long request, ...)
{
    errno = refusal;
    return -1;
}

static int copy(struct copy_methods *methods)
{
    bool reading = false;
    char content[8] = "";
    _cleanup_close_ int in = memfd_of("in", "content", 7, 0600);
    _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
    assert_true(in >= 0 && out >= 0);
    int r = copy_content(in, out, 7, methods, &reading);
    if (r == 0) {
        assert_int_equal(pread(out, content, sizeof(content), 0), 7);
        assert_string_equal(content, "content");
    }
    return r;
}

/* Some refuse one file, others every file. */
static void test_copied_where_refused(void **state)
{
    static const int one[] = {EINVAL, EPERM, ETXTBSY, EAGAIN};
    static const int all[] = {EOPNOTSUPP, ENOTTY, EXDEV, ENOSYS};
    for (size_t i = 0; i < ELEMENTS(one); i++) {
        struct copy_methods methods = {0};
        refusal = one[i];
        assert_int_equal(copy(&methods), 0);
        assert_false(methods.no_clone);
        refusal = all[i];
        assert_int_equal(copy(&methods), 0);
        assert_true(methods.no_clone);
    }
}

static void test_failures(void **state)
{
    struct copy_methods methods = {0};
    refusal = ENOSPC;
    assert_int_equal(copy(&methods), -ENOSPC);
    refusal = EIO;
    assert_int_equal(copy(&methods), -EIO);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_copied_where_refused),
        cmocka_unit_test(test_failures),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
