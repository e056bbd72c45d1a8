/* SPDX-License-Identifier: Apache-2.0 */
/* The growing byte string and the error object. Pure: no privilege. */
#include "base/buffer.h"
#include "base/error.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#undef fail /* of cmocka: here it is base/error.h's */

static void test_append(void **state)
{
    _cleanup_buffer_ struct buffer buffer = {0};
    buffer_append(&buffer, "a\0b", 3);
    buffer_append(&buffer, NULL, 0);
    buffer_append_text(&buffer, "cd");
    buffer_append_char(&buffer, 'e');
    buffer_printf(&buffer, "%d-%s", 42, "x");
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 10);
    assert_memory_equal(buffer.data, "a\0bcde42-x", 11);
}

static void test_empty_append_terminates(void **state)
{
    _cleanup_buffer_ struct buffer buffer = {0};
    buffer_append_text(&buffer, "");
    assert_int_equal(buffer.length, 0);
    assert_string_equal(buffer.data, "");
}

static void test_growth(void **state)
{
    _cleanup_buffer_ struct buffer buffer = {0};
    for (size_t i = 0; i < 100000; i++)
        buffer_append_char(&buffer, (char)('a' + i % 26));
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 100000);
    for (size_t i = 0; i < buffer.length; i++)
        assert_int_equal(buffer.data[i], 'a' + i % 26);
    assert_int_equal(buffer.data[buffer.length], 0);
}

static void test_overflow_sticks(void **state)
{
    _cleanup_buffer_ struct buffer buffer = {0};
    buffer_append_text(&buffer, "abc");
    buffer_append(&buffer, "x", SIZE_MAX - 2); /* never read: the sum overflows first */
    assert_true(buffer.failed);
    assert_string_equal(buffer.data, "abc");
    buffer_append_text(&buffer, "d");
    assert_string_equal(buffer.data, "abc");
    buffer_clear(&buffer);
    assert_false(buffer.failed);
    assert_null(buffer.data);
}

static void test_printf_too_long_fails(void **state)
{
    _cleanup_buffer_ struct buffer buffer = {0};
    buffer_printf(&buffer, "%1023s", "x");
    assert_false(buffer.failed);
    assert_int_equal(buffer.length, 1023);
    buffer_printf(&buffer, "%1024s", "x");
    assert_true(buffer.failed);
    assert_int_equal(buffer.length, 1023);
}

static void test_json_string(void **state)
{
    static const struct {
        const char *text;
        const char *json;
    } cases[] = {
        {"", "\"\""},
        {"plain /", "\"plain /\""},
        {"\"\\", "\"\\\"\\\\\""},
        {"a\nb\t\x01\x1f\x7f", "\"a\\u000ab\\u0009\\u0001\\u001f\x7f\""},
        {"\xc3\xa4\xf0\x9f\x98\x80", "\"\xc3\xa4\xf0\x9f\x98\x80\""},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_buffer_ struct buffer buffer = {0};
        buffer_append_json_string(&buffer, cases[i].text);
        assert_string_equal(buffer.data, cases[i].json);
    }
}

static void test_shell_word(void **state)
{
    _cleanup_buffer_ struct buffer line = {0};
    buffer_append_shell_word(&line, "--bind=/a:/b");
    buffer_append_shell_word(&line, "");
    buffer_append_shell_word(&line, "it's $HOME");
    assert_string_equal(line.data, "--bind=/a:/b '' 'it'\\''s $HOME'");
}

static void test_fail(void **state)
{
    struct error err = {0};
    assert_int_equal(fail(&err, ERROR_BUSY, EAGAIN, "x %d", 7), -EAGAIN);
    assert_int_equal(err.code, ERROR_BUSY);
    assert_int_equal(err.errnum, EAGAIN);
    assert_string_equal(err.text, "x 7");
    assert_int_equal(fail(&err, ERROR_BUSY, -EAGAIN, "x"), -EAGAIN);
    assert_int_equal(fail(NULL, ERROR_DENIED, 0, "x"), -EPERM);
    assert_int_equal(fail(&err, ERROR_SYSTEM, ENOENT, "open x: "), -ENOENT);
    assert_string_equal(err.text, "open x: No such file or directory");
    assert_int_equal(fail(&err, ERROR_SYSTEM, ENOENT, "x:"), -ENOENT);
    assert_string_equal(err.text, "x:");
}

/* Every code gives a negative errno and an exit status of its own. */
static void test_codes(void **state)
{
    for (enum error_code code = ERROR_NONE; code < _ERROR_CODES; code++) {
        struct error err = {0};
        assert_true(fail(&err, code, 0, "x") < 0);
        assert_int_equal(error_code_from_name(error_code_name(code)), code);
        int status = error_exit_status(code);
        int expected = code == ERROR_NOT_EXECUTABLE ? 126
                       : code == ERROR_NO_COMMAND   ? 127
                       : code == ERROR_LOST         ? 123
                                                    : 125;
        assert_int_equal(status, expected);
    }
    assert_int_equal(error_code_from_name("Nonsense"), ERROR_PROTOCOL);
    assert_int_equal(error_code_from_name(""), ERROR_PROTOCOL);
    assert_string_equal(error_code_name(_ERROR_CODES), "Protocol");
    assert_int_equal(error_exit_status(_ERROR_CODES), 125);
}

static void test_system_becomes_precise(void **state)
{
    struct error err = {0};
    (void)fail(&err, ERROR_SYSTEM, ENOSPC, "x");
    assert_int_equal(err.code, ERROR_NO_SPACE);
    (void)fail(&err, ERROR_SYSTEM, EDQUOT, "x");
    assert_int_equal(err.code, ERROR_NO_SPACE);
    (void)fail(&err, ERROR_SYSTEM, ENOSYS, "x");
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    (void)fail(&err, ERROR_INVALID, ENOSPC, "x");
    assert_int_equal(err.code, ERROR_INVALID);
}

static void test_prefix(void **state)
{
    struct error err = {0};
    int r = fail(&err, ERROR_BUSY, EBUSY, "inner");
    assert_int_equal(error_prefix(&err, r, "a \"%s\": ", "b"), -EBUSY);
    assert_string_equal(err.text, "a \"b\": inner");
    assert_int_equal(err.code, ERROR_BUSY);
    assert_int_equal(error_prefix(NULL, -EIO, "x"), -EIO);
}

static void test_suffix(void **state)
{
    struct error err = {0};
    int r = fail(&err, ERROR_BUSY, EBUSY, "inner");
    assert_int_equal(error_suffix(&err, r, "; a \"%s\"", "b"), -EBUSY);
    assert_string_equal(err.text, "inner; a \"b\"");
    assert_int_equal(err.code, ERROR_BUSY);
    assert_int_equal(error_suffix(NULL, -EIO, "x"), -EIO);
}

static void test_long_texts_are_cut(void **state)
{
    struct error err = {0};
    (void)fail(&err, ERROR_INVALID, 0, "%600s", "x");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    (void)error_prefix(&err, -1, "front: ");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    assert_non_null(text_after(err.text, "front:   "));
    (void)error_prefix(&err, -1, "%600s", "y");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    (void)error_suffix(&err, -1, "; %600s", "y");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    (void)fail(&err, ERROR_INVALID, 0, "x");
    (void)error_suffix(&err, -1, "; %600s", "y");
    assert_int_equal(strlen(err.text), ERROR_TEXT_MAX - 1);
    assert_non_null(text_after(err.text, "x;  "));
    for (int width = ERROR_TEXT_MAX - 5; width <= ERROR_TEXT_MAX + 2; width++) {
        (void)fail(&err, ERROR_SYSTEM, EIO, "%*s", width, "x: ");
        assert_true(strlen(err.text) < ERROR_TEXT_MAX);
    }
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_append),
        cmocka_unit_test(test_empty_append_terminates),
        cmocka_unit_test(test_growth),
        cmocka_unit_test(test_overflow_sticks),
        cmocka_unit_test(test_printf_too_long_fails),
        cmocka_unit_test(test_json_string),
        cmocka_unit_test(test_shell_word),
        cmocka_unit_test(test_fail),
        cmocka_unit_test(test_codes),
        cmocka_unit_test(test_system_becomes_precise),
        cmocka_unit_test(test_prefix),
        cmocka_unit_test(test_suffix),
        cmocka_unit_test(test_long_texts_are_cut),
    };
    return cmocka_run_group_tests_name("buffer_error", tests, NULL, NULL);
}
