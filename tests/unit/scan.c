/* SPDX-License-Identifier: Apache-2.0 */
/* Looking a value up in JSON without a tree, and counting the values: what is found, and that
 * nothing malformed leads out of the text (each is copied to memory of its exact size, for a
 * sanitizer). No privilege.
 */
#include "varlink/varlink.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static const char reply[] =
    " {\"error\" : \"io.isolate.NotFound\", \"parameters\":{\"message\":\"no "
    "\\\"x\\\"\\n\\u00e4"
    "\\u20ac\\u0041\\/\",\"errno\":2,\"deep\":{\"a\":[1,{\"b\":\"]}\"},[]],\"b\":true}},"
    "\"continues\":false,\"none\":null,\"minus\":-1.5e3,\"empty\":{},\"list\":[ ]}";

static void test_scan(void **state)
{
    static const struct {
        const char *path;
        const char *value; /* NULL: not there */
    } cases[] = {
        {"error", "\"io.isolate.NotFound\""},
        {"parameters.errno", "2"},
        {"parameters.deep.a", "[1,{\"b\":\"]}\"},[]]"},
        {"parameters.deep.b", "true"},
        {"continues", "false"},
        {"none", "null"},
        {"minus", "-1.5e3"},
        {"empty", "{}"},
        {"list", "[ ]"},
        {"message", NULL}, /* not of this level */
        {"b", NULL},
        {"err", NULL},
        {"errors", NULL},
        {"error.x", NULL},
        {"continues.x", NULL},
        {"parameters.deep.a.b", NULL}, /* a list has no members */
        {"parameters.deep.c", NULL},
        {"parameters..errno", NULL},
        {".", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        size_t length = 0;
        const char *value = json_scan(reply, cases[i].path, &length);
        if (!cases[i].value) {
            if (value)
                fail_msg("%s is found: %.*s", cases[i].path, (int)length, value);
            continue;
        }
        if (!value || length != strlen(cases[i].value) ||
            memcmp(value, cases[i].value, length) != 0)
            fail_msg("%s: %.*s", cases[i].path, (int)length, value ? value : "");
    }
}

static void test_whole(void **state)
{
    size_t length = 0;
    const char *value = json_scan(" [1] ", "", &length);
    assert_non_null(value);
    assert_true(length >= 3);
}

static void test_keys_inside_strings_do_not_count(void **state)
{
    char out[16];
    const char *text = "{\"a\":\"\\\"b\\\":\\\"no\\\"\",\"b\":\"yes\"}";
    assert_true(json_scan_string(text, "b", out, sizeof(out)));
    assert_string_equal(out, "yes");
}

static void test_strings(void **state)
{
    static const struct {
        const char *text;
        const char *string; /* NULL: none */
    } cases[] = {
        {"{\"a\":\"\"}", ""},
        {"{\"a\":\"x\\\\y\\\"z\\/\"}", "x\\y\"z/"},
        {"{\"a\":\"\\b\\f\\n\\r\\t\"}", "\b\f\n\r\t"},
        {"{\"a\":\"\\u0041\\u00e4\\u20AC\\u07ff\\u0800\\uffff\"}",
         "A\xc3\xa4\xe2\x82\xac\xdf\xbf\xe0\xa0\x80\xef\xbf\xbf"},
        {"{\"a\":\"\\ud83d\\ude00\"}", "?\?"},
        {"{\"a\":\"\xc3\xa4\"}", "\xc3\xa4"},
        {"{\"a\":\"\\x\"}", NULL},
        {"{\"a\":\"\\u12\"}", NULL},
        {"{\"a\":\"\\u12g4\"}", NULL},
        {"{\"a\":\"\\", NULL},
        {"{\"a\":\"x", NULL},
        {"{\"a\":1}", NULL},
        {"{\"a\":[\"x\"]}", NULL},
        {"{\"a\":null}", NULL},
        {"{\"b\":\"x\"}", NULL},
        {"", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char out[64] = "untouched";
        bool found = json_scan_string(cases[i].text, "a", out, sizeof(out));
        if (found != (cases[i].string != NULL))
            fail_msg("%s: %s", cases[i].text, found ? out : "not found");
        if (found)
            assert_string_equal(out, cases[i].string);
    }
}

static void test_truncates(void **state)
{
    const char *text = "{\"a\":\"abc\\u20acdef\"}";
    for (size_t size = 1; size < 12; size++) {
        char *out = malloc(size);
        assert_non_null(out);
        assert_true(json_scan_string(text, "a", out, size));
        assert_true(strlen(out) < size);
        assert_non_null(text_after("abc\xe2\x82\xac"
                                   "def",
                                   out));
        assert_true(text_is_utf8(out, strlen(out)));
        free(out);
    }
}

static void scan_exactly(const char *text, size_t length)
{
    static const char *const paths[] = {"", "a", "parameters.message", "parameters.deep.a",
                                        "."};
    char *copy = malloc(length + 1);
    assert_non_null(copy);
    memcpy(copy, text, length);
    copy[length] = '\0';
    for (size_t i = 0; i < ELEMENTS(paths); i++) {
        size_t n = 0;
        char out[32];
        const char *value = json_scan(copy, paths[i], &n);
        if (value)
            assert_true(value >= copy && value + n <= copy + length);
        if (json_scan_string(copy, paths[i], out, sizeof(out)))
            assert_true(strlen(out) < sizeof(out));
    }
    assert_true(json_count_values(copy) <= length);
    free(copy);
}

static void test_count(void **state)
{
    static const struct {
        const char *text;
        size_t n;
    } cases[] = {
        {"", 0},
        {"1", 0},
        {"[]", 1},
        {"{}", 1},
        {"[1]", 1},
        {"[1, 2,3 ]", 3},
        {"[[],{}]", 4},
        {"{\"a\":1}", 2},
        {"{\"a\":1,\"b\":[true,null]}", 6},
        {" {\n\t\"a\" : { \"b\" : {} } } ", 5},
        /* what is in strings is no value */
        {"\"[{,:\"", 0},
        {"[\"[{,:\",\"]}\"]", 2},
        {"{\"{[:,\":\",\"}", 2},
        /* escapes: of the quote, of the backslash before one */
        {"[\"\\\",[\",1]", 2},
        {"[\"\\\\\",[]]", 3},
        {"[\"\\\\\\\",[,,,\"]", 1},
        {"[\"\\u0022,[\"]", 1},
        {"[\"\\\\\\\\\",1]", 2},
        /* a string without an end has all the rest, as for a parser */
        {"[\"a,[,[,[", 1},
        {"[1,\"", 2},
        {"[1,\"\\", 2},
        {"[1,\"\\\"", 2},
        /* no JSON: each mark counts */
        {",,,,", 4},
        {"::::", 4},
        {"[[[[", 4},
        {"{{{{", 4},
        {"]]}}", 0},
        {"\\[\\\"[", 1},
        {"1 2 3 \"\" \"\"", 0},
        {"\xff,\x80[\x01{", 3},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        size_t n = json_count_values(cases[i].text);
        if (n != cases[i].n)
            fail_msg("%s: %zu, not %zu", cases[i].text, n, cases[i].n);
    }
}

static void append_times(struct buffer *buffer, const char *text, unsigned times)
{
    for (unsigned i = 0; i < times; i++)
        buffer_append_text(buffer, text);
    assert_false(buffer->failed);
}

static void test_count_of_many(void **state)
{
    static const struct {
        const char *repeated;
        size_t n; /* of each */
    } cases[] = {{"{},", 2}, {"0,", 1}, {"\"{},\",", 1}, {"\"\\\"\",", 1}, {"\"k\":[],", 3}};
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_buffer_ struct buffer text = {0};
        buffer_append_text(&text, "{\"method\":\"x\",\"parameters\":{\"a\":[");
        size_t before = json_count_values(text.data);
        append_times(&text, cases[i].repeated, 1000000);
        assert_int_equal(json_count_values(text.data), before + 1000000 * cases[i].n);
    }
}

/* As many as a caller may send. */
static void test_count_of_the_largest_run(void **state)
{
    _cleanup_buffer_ struct buffer text = {0};
    buffer_append_text(&text, "{\"method\":\"io.isolate.Run\",\"parameters\":{\"argv\":[\"a\"");
    append_times(&text, ",\"a\"", 65535);
    buffer_append_text(&text, "],\"env\":[\"A=b\"");
    append_times(&text, ",\"A=b\"", 65535);
    buffer_append_text(&text, "],\"binds\":[");
    append_times(&text,
                 "{\"fd\":0,\"target\":\"/t\",\"source\":\"/s\",\"read_only\":true,"
                 "\"recursive\":true,\"device\":true,\"connect\":true},",
                 128);
    buffer_append_text(&text, "],\"tmpfs\":[");
    append_times(&text, "{\"target\":\"/t\",\"size_bytes\":1},", 64);
    buffer_append_text(&text, "],\"publish\":[");
    append_times(&text, "\"1024:1\",", 1024);
    buffer_append_text(&text, "]}");
    append_times(&text, ",\"another\":0", 100);
    size_t n = json_count_values(text.data);
    assert_in_range(n, 131072, VARLINK_VALUES_MAX - 10000);
}

static void test_malformed(void **state)
{
    static const char *const texts[] = {
        "",
        "{",
        "}",
        "{\"",
        "{\"a",
        "{\"a\"",
        "{\"a\":",
        "{\"a\":}",
        "{\"a\":,",
        "{\"a\":]",
        "{\"a\"::1}",
        "{a:1}",
        "{\"a\" 1}",
        "{\"a\":1",
        "{,}",
        "{:}",
        "[",
        "]",
        "\"",
        "\\",
        "{\"a\":\"\\",
        "{\"a\":[[[[",
        "{\"a\":]]",
        "{\"a\":{\"b\"",
        "{\"a\":1,,\"a\":2}",
        "nul",
        "{\"a\":1}}",
        "{\"a\":\"\\u",
        "{\"a\":\"\\u1\"",
        "{\"parameters\":\"x\"}",
        "{\"parameters\":{\"message\"",
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++)
        scan_exactly(texts[i], strlen(texts[i]));
}

static void test_truncations(void **state)
{
    for (size_t length = 0; length <= strlen(reply); length++)
        scan_exactly(reply, length);
}

static void test_damage(void **state)
{
    static const char values[] = "{}[]\",:\\u0 x\n\xff";
    char text[sizeof(reply)];
    uint32_t seed = 7;
    for (int round = 0; round < 20000; round++) {
        memcpy(text, reply, sizeof(text));
        for (int i = 0; i < 1 + round % 5; i++) {
            seed = seed * 1664525 + 1013904223;
            text[(seed >> 8) % (sizeof(text) - 1)] = values[(seed >> 3) % (sizeof(values) - 1)];
        }
        scan_exactly(text, strlen(text));
    }
}

/* No recursion: depth costs nothing. */
static void test_depth(void **state)
{
    _cleanup_buffer_ struct buffer text = {0};
    size_t length = 0;
    buffer_append_text(&text, "{\"a\":");
    for (int i = 0; i < 1000000; i++)
        buffer_append_char(&text, '[');
    assert_null(json_scan(text.data, "a", &length));
    for (int i = 0; i < 1000000; i++)
        buffer_append_char(&text, ']');
    assert_non_null(json_scan(text.data, "a", &length));
    assert_int_equal(length, 2000000);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_scan),
        cmocka_unit_test(test_whole),
        cmocka_unit_test(test_keys_inside_strings_do_not_count),
        cmocka_unit_test(test_strings),
        cmocka_unit_test(test_truncates),
        cmocka_unit_test(test_count),
        cmocka_unit_test(test_count_of_many),
        cmocka_unit_test(test_count_of_the_largest_run),
        cmocka_unit_test(test_malformed),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_depth),
    };
    return cmocka_run_group_tests_name("scan", tests, NULL, NULL);
}
