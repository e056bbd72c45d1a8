/* SPDX-License-Identifier: Apache-2.0 */
/* Names that callers choose: what may become a directory or a host name. Pure: no privilege. */
#include "spec/names.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define A20 "aaaaaaaaaaaaaaaaaaaa"
#define A60 A20 A20 A20

static const char *const bad_everywhere[] = {
    "",      "a/b",      "/",     "..",  ".",    ".a",  "-a",  "_a",   "a b",  "a\nb", "a\x01",
    "a\x7f", "\xc3\xa4", "a\xff", "a:b", "a@b",  "a+b", "a*",  "a\\b", "a\"b", " a",   "a ",
    "../a",  "a/../b",   "a$b",   "a;b", "a\tb", "%s",  "a=b", "~a",   "a,b",  "(a)",
};

typedef int (*checker)(const char *name, struct error *err);

static void refuse_bad(checker check, const char *what)
{
    for (size_t i = 0; i < ELEMENTS(bad_everywhere); i++) {
        struct error err = {0};
        if (check(bad_everywhere[i], &err) != -EINVAL)
            fail_msg("%s \"%s\" passes", what, bad_everywhere[i]);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_non_null(text_after(err.text, what));
    }
    char huge[301];
    memset(huge, 'a', sizeof(huge) - 1);
    huge[sizeof(huge) - 1] = '\0';
    assert_int_equal(check(huge, NULL), -EINVAL);
}

static void test_template(void **state)
{
    static const char *const good[] = {
        "a",
        "0",
        "debian",
        "debian-12.5_x",
        "a.",
        "a_",
        "a..b",
        A60 "abc",
        "a_123456789012345678",
        "a_1234567890123456789x",
        "1234567890123456789",
    };
    static const char *const bad[] = {
        "Debian",
        "aB",
        A60 "abcd",
        "a_1234567890123456789",
        "a_12345678901234567890",
        "a_b_0000000000000000000",
    };
    refuse_bad(name_check_template, "template name");
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (name_check_template(good[i], NULL) != 0)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (name_check_template(bad[i], NULL) != -EINVAL)
            fail_msg("\"%s\" passes", bad[i]);
}

static void test_sandbox(void **state)
{
    static const char *const good[] = {"a", "Trial_1", "A.b-c", A60 "abc"};
    refuse_bad(name_check_sandbox, "sandbox name");
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_int_equal(name_check_sandbox(good[i], NULL), 0);
    assert_int_equal(name_check_sandbox(A60 "abcd", NULL), -EINVAL);
}

static void test_tag(void **state)
{
    static const char *const good[] = {"latest", "_", "1.0-rc_2", "A60", A60 A60 "12345678"};
    static const char *const bad[] = {"",    ".a",  "-a", "a/b",  "a:b",
                                      "a b", "a\n", "a@", "\xff", A60 A60 "123456789"};
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (name_check_tag(good[i], NULL) != 0)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (name_check_tag(bad[i], NULL) != -EINVAL)
            fail_msg("\"%s\" passes", bad[i]);
}

static void test_hostname(void **state)
{
    static const char *const good[] = {"a", "0", "A-b", "a.b.c", A60 "abc"};
    static const char *const bad[] = {"a_b", "a-", "-a", ".a", A60 "abcde"};
    refuse_bad(name_check_hostname, "hostname");
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (name_check_hostname(good[i], NULL) != 0)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (name_check_hostname(bad[i], NULL) != -EINVAL)
            fail_msg("\"%s\" passes", bad[i]);
}

static void test_generation(void **state)
{
    static const char *const good[] = {"20260131T120000Z", "20260131T120000Z-1",
                                       "20260131T120000Z-9999"};
    static const char *const bad[] = {
        "",
        "2",
        "20260131T120000",
        "20260131t120000Z",
        "20260131T120000Z-",
        "20260131T120000Z-12345",
        "20260131T120000Z-1a",
        "20260131T120000Zx",
        "2026013 T120000Z",
        "20260131T12000Z",
        "20260131T120000Z/..",
        "x20260131T120000Z",
        "20260131T120000Z-1-1",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++)
        assert_true(name_is_generation(good[i]));
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (name_is_generation(bad[i]))
            fail_msg("\"%s\" passes", bad[i]);
}

static void test_clone(void **state)
{
    static const char *const good[] = {
        "debian_1234567890123456789",
        "a_b_1234567890123456789",
        A60 "abc_1234567890123456789",
        A60 "abc_12345678901234567890",
    };
    static const char *const bad[] = {
        "",
        "debian",
        "debian_123456789012345678",
        "_1234567890123456789",
        "Debian_1234567890123456789",
        "../x_1234567890123456789",
        "debian_1234567890123456789x",
        "debian_1234567890123456789\n",
        A60 "abcd_12345678901234567890",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (!name_is_clone(good[i]))
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (name_is_clone(bad[i]))
            fail_msg("\"%s\" passes", bad[i]);
}

static void test_path(void **state)
{
    static const char *const paths[] = {"/", "/srv", ".", "..", "./a", "../a", "@host", "@"};
    static const char *const names[] = {"debian", "", "a/b", ".a", "..a", "a@b", "..."};
    for (size_t i = 0; i < ELEMENTS(paths); i++)
        assert_true(name_is_path(paths[i]));
    for (size_t i = 0; i < ELEMENTS(names); i++)
        assert_false(name_is_path(names[i]));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_template),   cmocka_unit_test(test_sandbox),
        cmocka_unit_test(test_tag),        cmocka_unit_test(test_hostname),
        cmocka_unit_test(test_generation), cmocka_unit_test(test_clone),
        cmocka_unit_test(test_path),
    };
    return cmocka_run_group_tests_name("names", tests, NULL, NULL);
}
