/* SPDX-License-Identifier: Apache-2.0 */
/* The grammar of the original's command line. */
#include "client/original.h"

#include "base/buffer.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdio.h>
#include <string.h>

#define WORDS 300

static char storage[WORDS][16];
static char *words[WORDS + 1];

/* argv of words that are separated by spaces; getopt may permute it. */
static int parse(const char *line, struct original *ret, struct error *err)
{
    int argc = 0;
    const char *p = line;
    while (*p) {
        size_t n = strcspn(p, " ");
        assert_in_range(n, 0, sizeof(storage[0]) - 1);
        assert_in_range(argc, 0, WORDS - 1);
        (void)snprintf(storage[argc], sizeof(storage[argc]), "%.*s", (int)n, p);
        words[argc] = storage[argc];
        argc++;
        p += n + (p[n] == ' ');
    }
    words[argc] = NULL;
    return original_parse(argc, words, ret, err);
}

static void test_all_options(void **state)
{
    struct original o;
    struct error err = {0};
    assert_int_equal(
        parse("isolate -e lxc -z a/b/c -12nixq -p /w -u 1 -g2 -d x:y -d z:w -v A:b:c cmd "
              "-d a -- -t",
              &o, &err),
        0);
    assert_string_equal(o.engine, "lxc");
    assert_string_equal(o.dataset, "a/b/c");
    assert_null(o.directory);
    assert_true(o.x11 && o.audio && o.network && o.ignore_interrupts && o.trace && o.quiet);
    assert_string_equal(o.workdir, "/w");
    assert_string_equal(o.uid_base, "1");
    assert_string_equal(o.gid_base, "2");
    assert_int_equal(o.n_binds, 2);
    assert_string_equal(o.binds[1], "z:w");
    assert_int_equal(o.n_env, 1);
    assert_string_equal(o.env[0], "A:b:c");
    assert_int_equal(o.n_command, 5);
    assert_string_equal(o.command[0], "cmd");
    assert_string_equal(o.command[4], "-t");
}

static void test_defaults(void **state)
{
    struct original o;
    struct error err = {0};
    assert_int_equal(parse("isolate -t . -- -cmd", &o, &err), 0);
    assert_string_equal(o.engine, "bwrap");
    assert_string_equal(o.command[0], "-cmd");
    assert_false(o.network || o.quiet || o.trace);
    assert_null(o.workdir);
}

static void test_refused(void **state)
{
    static const char *const lines[] = {
        "isolate -t . -z a/b x", "isolate -q x",
        "isolate -t .",          "isolate -t",
        "isolate -z b x",        "isolate -z /b x",
        "isolate -z a/ x",       "isolate -y -t . x",
        "isolate -t . -d a x",   "isolate -t . -d : x",
        "isolate -t . -d a: x",  "isolate -t . -d a:b:c x",
        "isolate -t . -v a x",   "isolate -t . -v :a x",
        "isolate --tty -t . x",  "isolate -t . -v A=b:c x",
    };
    for (size_t i = 0; i < ELEMENTS(lines); i++) {
        struct original o;
        struct error err = {0};
        if (parse(lines[i], &o, &err) >= 0 || err.code != ERROR_INVALID)
            fail_msg("%s: %s", lines[i], err.text);
    }
}

static void test_too_many(void **state)
{
    struct original o;
    struct error err = {0};
    _cleanup_buffer_ struct buffer line = {0};
    buffer_append_text(&line, "isolate -t .");
    for (int i = 0; i <= ORIGINAL_MANY; i++)
        buffer_append_text(&line, " -d a:b");
    buffer_append_text(&line, " x");
    assert_true(parse(line.data, &o, &err) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_all_options),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_refused),
        cmocka_unit_test(test_too_many),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
