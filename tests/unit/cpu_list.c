/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of processors. No privilege. */
#include "spec/cpu_list.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static struct cpu_list list_of(const char *text)
{
    struct cpu_list list;
    struct error err = {0};
    if (cpu_list_parse(text, &list, "--cpuset", &err) < 0)
        fail_msg("\"%s\": %s", text, err.text);
    return list;
}

static void test_lists(void **state)
{
    struct cpu_list list = list_of("0-3,5,64,8191");
    assert_int_equal(list.bits[0], 0x2f);
    assert_int_equal(list.bits[1], 1);
    assert_int_equal(list.bits[127], 1ULL << 63);
    list = list_of("7,7,6-7");
    assert_int_equal(list.bits[0], 0xc0);
    list = list_of("0-8191");
    for (size_t i = 0; i < ELEMENTS(list.bits); i++)
        assert_int_equal(list.bits[i], UINT64_MAX);
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        ",",
        "0,",
        ",0",
        "0,,1",
        "-",
        "-1",
        "1-",
        "3-2",
        "0-1-2",
        "x",
        "0x1",
        "0 ",
        " 0",
        "0, 1",
        "+1",
        "0-3:1/2",
        "8192",
        "0-8192",
        "4294967296",
        "18446744073709551616",
        "00000000000",
        "all",
        "0\n",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct cpu_list list = {{5}};
        struct error err = {0};
        if (cpu_list_parse(bad[i], &list, "--cpuset", &err) != -EINVAL || list.bits[0] != 5)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(text_after(err.text, "--cpuset: "));
    }
}

static void test_within(void **state)
{
    struct cpu_list whole = list_of("0-3,70");
    const struct {
        const char *text;
        bool within;
    } cases[] = {{"0", true},    {"0-3,70", true}, {"70", true},   {"4", false},
                 {"0-4", false}, {"71", false},    {"8191", false}};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct cpu_list list = list_of(cases[i].text);
        if (cpu_list_is_within(&list, &whole) != cases[i].within)
            fail_msg("\"%s\"", cases[i].text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_lists),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_within),
    };
    return cmocka_run_group_tests_name("cpu_list", tests, NULL, NULL);
}
