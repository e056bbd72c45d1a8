/* SPDX-License-Identifier: Apache-2.0 */
/* base64: the vectors of RFC 4648, round trips, and what is none. Pure: no privilege. */
#include "spec/base64.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static void test_vectors(void **state)
{
    static const struct {
        const char *plain;
        const char *encoded;
    } cases[] = {
        {"", ""},
        {"f", "Zg=="},
        {"fo", "Zm8="},
        {"foo", "Zm9v"},
        {"foob", "Zm9vYg=="},
        {"fooba", "Zm9vYmE="},
        {"foobar", "Zm9vYmFy"},
        {"\xff\xfe\xfd", "//79"},
        {"\xfb\xef\xbe", "++++"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_buffer_ struct buffer out = {0};
        base64_encode(&out, cases[i].plain, strlen(cases[i].plain));
        assert_string_equal(out.data ? out.data : "", cases[i].encoded);
        _cleanup_free_ char *back = base64_decode_text(cases[i].encoded);
        assert_non_null(back);
        assert_string_equal(back, cases[i].plain);
    }
}

static void test_round_trip(void **state)
{
    char bytes[256];
    for (size_t length = 0; length < sizeof(bytes); length++) {
        for (size_t i = 0; i < length; i++)
            bytes[i] = (char)(1 + (i * 37 + length) % 255);
        bytes[length] = '\0';
        _cleanup_buffer_ struct buffer out = {0};
        base64_encode(&out, bytes, length);
        assert_int_equal(out.length, (length + 2) / 3 * 4);
        _cleanup_free_ char *back = base64_decode_text(out.data ? out.data : "");
        assert_non_null(back);
        assert_string_equal(back, bytes);
    }
}

static void test_refused(void **state)
{
    static const char *const bad[] = {
        "Z",         "Zg",       "Zg=",  "Zm9",        "=",        "==",   "====",
        "Z===",      "Zg==Zg==", "Z=g=", "=Zg=",       "Zm9v=",    "Zm 9", "Zm9v\n",
        "Zm9v\nZm9", "Zm9-",     "Zm9_", "\xc3\xa4Zm", "Zm9v====", "AA==", /* a NUL */
        "Zm8A",      "AGZv",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        char *text = base64_decode_text(bad[i]);
        if (text)
            fail_msg("\"%s\" passes as \"%s\"", bad[i], text);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_vectors),
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_refused),
    };
    return cmocka_run_group_tests_name("base64", tests, NULL, NULL);
}
