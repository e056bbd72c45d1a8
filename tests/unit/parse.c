/* SPDX-License-Identifier: Apache-2.0 */
/* Numbers from text: ranges, units, and everything that is none. Pure: no privilege. */
#include "base/parse.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define UNTOUCHED 4711

static void test_u64(void **state)
{
    static const struct {
        const char *text;
        uint64_t min;
        uint64_t max;
        bool valid;
        uint64_t value;
    } cases[] = {
        {"0", 0, 10, true, 0},
        {"10", 0, 10, true, 10},
        {"007", 0, 10, true, 7},
        {"18446744073709551615", 0, UINT64_MAX, true, UINT64_MAX},
        {"18446744073709551616", 0, UINT64_MAX, false, 0},
        {"99999999999999999999999", 0, UINT64_MAX, false, 0},
        {"11", 0, 10, false, 0},
        {"2", 3, 10, false, 0},
        {"", 0, 10, false, 0},
        {"-1", 0, UINT64_MAX, false, 0},
        {"+1", 0, 10, false, 0},
        {" 1", 0, 10, false, 0},
        {"1 ", 0, 10, false, 0},
        {"0x1", 0, 10, false, 0},
        {"1.0", 0, 10, false, 0},
        {"1e3", 0, 10000, false, 0},
        {"\xd9\xa1", 0, 10, false, 0}, /* an Arabic digit */
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t value = UNTOUCHED;
        struct error err = {0};
        int r = parse_u64(cases[i].text, cases[i].min, cases[i].max, &value, "--x", &err);
        if (r != (cases[i].valid ? 0 : -EINVAL) ||
            value != (cases[i].valid ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\": %d, %ju", cases[i].text, r, (uintmax_t)value);
        if (r < 0)
            assert_non_null(text_after(err.text, "--x: not a number from "));
    }
}

static void test_u32(void **state)
{
    uint32_t value = UNTOUCHED;
    assert_int_equal(parse_u32("4294967295", 0, UINT32_MAX, &value, "x", NULL), 0);
    assert_int_equal(value, UINT32_MAX);
    assert_int_equal(parse_u32("4294967296", 0, UINT32_MAX, &value, "x", NULL), -EINVAL);
    assert_int_equal(parse_u32("5", 6, 7, &value, "x", NULL), -EINVAL);
    assert_int_equal(value, UINT32_MAX);
}

static void test_size(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t value;
    } cases[] = {
        {"0", true, 0},
        {"1", true, 1},
        {"1b", true, 1},
        {"1k", true, 1024},
        {"1K", true, 1024},
        {"1kb", true, 1024},
        {"1KiB", true, 1024},
        {"512M", true, 512ULL << 20},
        {"2G", true, 2ULL << 30},
        {"2gib", true, 2ULL << 30},
        {"1T", true, 1ULL << 40},
        {"8388607T", true, 8388607ULL << 40},
        {"9223372036854775807", true, INT64_MAX},
        {"9223372036854775808", false, 0},
        {"8388608T", false, 0},
        {"16777216T", false, 0}, /* 2^64 */
        {"18446744073709551615G", false, 0},
        {"", false, 0},
        {"M", false, 0},
        {"1 M", false, 0},
        {"1.5G", false, 0},
        {"1P", false, 0},
        {"1MiBs", false, 0},
        {"-1", false, 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t value = UNTOUCHED;
        struct error err = {0};
        int r = parse_size_bytes(cases[i].text, &value, "--tmpfs", &err);
        if (r != (cases[i].valid ? 0 : -EINVAL) ||
            value != (cases[i].valid ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\": %d, %ju", cases[i].text, r, (uintmax_t)value);
        if (r < 0)
            assert_non_null(text_after(err.text, "--tmpfs: not a size: "));
    }
}

static void test_size_range(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t value;
    } cases[] = {
        {"4M", true, 4ULL << 20}, {"4096k", true, 4ULL << 20}, {"2T", true, 2ULL << 40},
        {"4194303", false, 0},    {"2049G", false, 0},         {"0", false, 0},
        {"", false, 0},           {"much", false, 0},          {"-4M", false, 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t value = UNTOUCHED;
        struct error err = {0};
        int r =
            parse_size_range(cases[i].text, 4ULL << 20, 2ULL << 40, &value, "--memory", &err);
        if (r != (cases[i].valid ? 0 : -EINVAL) ||
            value != (cases[i].valid ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\": %d, %ju", cases[i].text, r, (uintmax_t)value);
        if (r < 0)
            assert_non_null(text_after(err.text, "--memory: not a size from 4M to 2T: "));
    }
    struct error err = {0};
    uint64_t value = 0;
    assert_int_equal(parse_size_range("x", 0, 1000, &value, "--swap", &err), -EINVAL);
    assert_non_null(text_after(err.text, "--swap: not a size from 0 to 1000: \"x\""));
}

static void test_milli(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t value;
    } cases[] = {
        {"1", true, 1000},
        {"0.5", true, 500},
        {"0.01", true, 10},
        {"2.125", true, 2125},
        {"8192", true, 8192000},
        {"1.50", true, 1500},
        {"007", true, 7000},
        {"0.009", false, 0},
        {"0", false, 0},
        {"8192.001", false, 0},
        {"1.", false, 0},
        {".5", false, 0},
        {"1.2345", false, 0},
        {"1,5", false, 0},
        {"1e3", false, 0},
        {"-1", false, 0},
        {"", false, 0},
        {"x", false, 0},
        {"1.5.", false, 0},
        {"1 ", false, 0},
        {"18446744073709551616", false, 0},
        {"18446744073709551615.999", false, 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t value = UNTOUCHED;
        struct error err = {0};
        int r = parse_milli(cases[i].text, 10, 8192000, &value, "--cpus", &err);
        if (r != (cases[i].valid ? 0 : -EINVAL) ||
            value != (cases[i].valid ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\": %d, %ju", cases[i].text, r, (uintmax_t)value);
        if (r < 0)
            assert_non_null(text_after(err.text, "--cpus: not a number from 0.01 to 8192 "));
    }
}

static void test_duration(void **state)
{
    static const struct {
        const char *text;
        bool valid;
        uint64_t value;
    } cases[] = {
        {"90", true, 90000},
        {"90s", true, 90000},
        {"1ms", true, 1},
        {"1500ms", true, 1500},
        {"5m", true, 300000},
        {"5min", true, 300000},
        {"2h", true, 7200000},
        {"1d", true, 86400000},
        {"1h30m", true, 5400000},
        {"1h30m5s7ms", true, 5405007},
        {"0h1s", true, 1000},
        {"3660d", true, 3660ULL * 86400000},
        {"3660d1ms", false, 0},
        {"18446744073709551615d", false, 0},
        {"18446744073709551615ms", false, 0},
        {"99999999999999999999s", false, 0},
        {"", false, 0},
        {"0", false, 0},
        {"0s", false, 0},
        {"s", false, 0},
        {"5x", false, 0},
        {"5S", false, 0},
        {"1 h", false, 0},
        {"1h 30m", false, 0},
        {"1.5h", false, 0},
        {"-1s", false, 0},
        {"1h-5m", false, 0},
        {"1w", false, 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        uint64_t value = UNTOUCHED;
        struct error err = {0};
        int r = parse_duration_ms(cases[i].text, &value, "--timeout", &err);
        if (r != (cases[i].valid ? 0 : -EINVAL) ||
            value != (cases[i].valid ? cases[i].value : UNTOUCHED))
            fail_msg("\"%s\": %d, %ju", cases[i].text, r, (uintmax_t)value);
        if (r < 0)
            assert_non_null(text_after(err.text, "--timeout: "));
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_u64),   cmocka_unit_test(test_u32),
        cmocka_unit_test(test_size),  cmocka_unit_test(test_size_range),
        cmocka_unit_test(test_milli), cmocka_unit_test(test_duration),
    };
    return cmocka_run_group_tests_name("parse", tests, NULL, NULL);
}
