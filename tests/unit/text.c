/* SPDX-License-Identifier: Apache-2.0 */
/* Strings: UTF-8, escaping for terminals, the nearest word. Pure: no privilege. */
#include "base/text.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_after(void **state)
{
    assert_string_equal(text_after("template ls", "template "), "ls");
    assert_string_equal(text_after("abc", "abc"), "");
    assert_string_equal(text_after("abc", ""), "abc");
    assert_null(text_after("ab", "abc"));
    assert_null(text_after("", "a"));
    assert_null(text_after("Abc", "a"));
}

static void test_utf8(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"", true},
        {"plain\n\x7f", true},
        {"\xc3\xa4\xe2\x82\xac\xf0\x9f\x98\x80", true}, /* 2, 3 and 4 bytes */
        {"\xc2\x80", true},                             /* the first and last of each length */
        {"\xdf\xbf", true},
        {"\xe0\xa0\x80", true},
        {"\xef\xbf\xbf", true},
        {"\xf0\x90\x80\x80", true},
        {"\xf4\x8f\xbf\xbf", true},
        {"\xed\x9f\xbf", true},
        {"\xc0\xaf", false}, /* overlong */
        {"\xc1\xbf", false},
        {"\xe0\x9f\xbf", false},
        {"\xf0\x8f\xbf\xbf", false},
        {"\xed\xa0\x80", false},     /* surrogate */
        {"\xf4\x90\x80\x80", false}, /* above U+10FFFF */
        {"\xf5\x80\x80\x80", false},
        {"\xff", false},
        {"\x80", false}, /* continuation alone */
        {"\xc3", false}, /* cut off */
        {"\xe2\x82", false},
        {"\xf0\x9f\x98", false},
        {"\xc3(", false},
        {"a\xe2(\xac", false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++)
        if (text_is_utf8(cases[i].text, strlen(cases[i].text)) != cases[i].valid)
            fail_msg("case %zu", i);
}

static void test_utf8_by_length(void **state)
{
    assert_false(text_is_utf8("a\0b", 3));
    assert_true(text_is_utf8("a\xff", 1));
    assert_false(text_is_utf8("\xc3\xa4", 1));
    assert_true(text_is_utf8("\xff", 0));
}

static void test_escape(void **state)
{
    static const struct {
        const char *text;
        const char *escaped;
    } cases[] = {
        {"", ""},
        {"plain text", "plain text"},
        {"\xc3\xa4\xe2\x80\xa6", "\xc3\xa4\xe2\x80\xa6"},
        {"a\nb\tc", "a\\x0ab\\x09c"},
        {"\x1b[2J\x7f", "\\x1b[2J\\x7f"},
        {"\xff\xfe", "\\xff\\xfe"},
        {"\xc2\x9b"
         "1m",
         "\\xc2\\x9b1m"}, /* CSI as a C1 control */
        {"\xc2\xa0", "\xc2\xa0"},
        {"\xe2\x82", "\\xe2\\x82"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char out[64];
        text_escape(out, sizeof(out), cases[i].text);
        assert_string_equal(out, cases[i].escaped);
    }
}

/* Whatever the room, the result is terminated, inside of it, and no sequence is cut in two. */
static void test_escape_truncates(void **state)
{
    static const char text[] = "a\n\xc3\xa4\xf0\x9f\x98\x80\x1b\xff"
                               "b";
    char whole[64];
    text_escape(whole, sizeof(whole), text);
    for (size_t size = 1; size < sizeof(whole); size++) {
        char *out = malloc(size);
        assert_non_null(out);
        text_escape(out, size, text);
        assert_true(strlen(out) < size);
        assert_non_null(text_after(whole, out));
        assert_true(text_is_utf8(out, strlen(out)));
        free(out);
    }
    text_escape(NULL, 0, text);
}

static void test_nearest(void **state)
{
    static const char *const words[] = {"run",       "start",    "network",
                                        "read-only", "hostname", "env"};
    static const struct {
        const char *word;
        const char *nearest; /* NULL: none is near */
    } cases[] = {
        {"run", "run"},
        {"netwrok", "network"},
        {"networks", "network"},
        {"readonly", "read-only"},
        {"hotsname", "hostname"},
        {"strat", "start"},
        {"stat", "start"},
        {"zzzzzz", NULL},
        {"", NULL},
        {"q", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        const char *nearest = text_nearest(cases[i].word, words, ELEMENTS(words));
        if (!cases[i].nearest)
            assert_null(nearest);
        else if (!nearest || !streq(nearest, cases[i].nearest))
            fail_msg("%s: %s", cases[i].word, nearest ? nearest : "none");
    }
    assert_null(text_nearest("run", words, 0));
}

static void test_nearest_of_equals_is_exact(void **state)
{
    static const char *const words[] = {"cat", "car", "can"};
    assert_string_equal(text_nearest("can", words, 3), "can");
    assert_string_equal(text_nearest("car", words, 3), "car");
}

/* As the header says: at most a third of its letters wrong. */
static void test_nearest_limit(void **state)
{
    static const char *const words[] = {"abcdef"};
    assert_non_null(text_nearest("abcdxy", words, 1)); /* 2 of 6 */
    assert_null(text_nearest("abcxyz", words, 1));
    assert_null(text_nearest("xyz", (const char *const[]){"xab"}, 1));
}

static void test_nearest_of_long_words(void **state)
{
    char word[201];
    static const char *const words[] = {"run"};
    memset(word, 'a', sizeof(word));
    for (size_t n = 60; n < 186; n++) {
        word[n] = '\0';
        assert_null(text_nearest(word, words, 1));
        word[n] = 'a';
    }
    word[200] = '\0';
    assert_null(text_nearest(word, words, 1));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_after),
        cmocka_unit_test(test_utf8),
        cmocka_unit_test(test_utf8_by_length),
        cmocka_unit_test(test_escape),
        cmocka_unit_test(test_escape_truncates),
        cmocka_unit_test(test_nearest),
        cmocka_unit_test(test_nearest_of_equals_is_exact),
        cmocka_unit_test(test_nearest_limit),
        cmocka_unit_test(test_nearest_of_long_words),
    };
    return cmocka_run_group_tests_name("text", tests, NULL, NULL);
}
