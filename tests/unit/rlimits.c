/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits as text. No privilege. */
#include "spec/rlimits.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>
#include <sys/resource.h>

#include <cmocka.h>

#define NONE RLIMITS_UNLIMITED

static void test_good(void **state)
{
    static const struct {
        const char *text;
        struct rlimit_wish wish;
        const char *printed;
    } cases[] = {
        {"nofile=64", {RLIMIT_NOFILE, 64, 64}, "nofile=64:64"},
        {"nofile=64:128", {RLIMIT_NOFILE, 64, 128}, "nofile=64:128"},
        {"nofile=0:unlimited", {RLIMIT_NOFILE, 0, NONE}, "nofile=0:unlimited"},
        {"core=-1", {RLIMIT_CORE, NONE, NONE}, "core=unlimited:unlimited"},
        {"as=64M", {RLIMIT_AS, 64 << 20, 64 << 20}, "as=67108864:67108864"},
        {"stack=8m:1g", {RLIMIT_STACK, 8 << 20, 1 << 30}, "stack=8388608:1073741824"},
        {"cpu=90", {RLIMIT_CPU, 90, 90}, "cpu=90:90"},
        {"cpu=90s:5m", {RLIMIT_CPU, 90, 300}, "cpu=90:300"},
        {"rttime=500", {RLIMIT_RTTIME, 500, 500}, "rttime=500:500"},
        {"rttime=500ms", {RLIMIT_RTTIME, 500000, 500000}, "rttime=500000:500000"},
        {"nice=20", {RLIMIT_NICE, 20, 20}, "nice=20:20"},
        {"memlock=9223372036854775807",
         {RLIMIT_MEMLOCK, INT64_MAX, INT64_MAX},
         "memlock=9223372036854775807:9223372036854775807"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct rlimit_wish wish = {0};
        struct error err = {0};
        char printed[RLIMIT_TEXT_MAX];
        if (rlimit_parse(cases[i].text, &wish, "--ulimit", &err) < 0)
            fail_msg("%s", err.text);
        rlimit_print(&wish, printed);
        assert_string_equal(printed, cases[i].printed);
        assert_int_equal(wish.resource, cases[i].wish.resource);
        assert_int_equal(wish.soft, cases[i].wish.soft);
        assert_int_equal(wish.hard, cases[i].wish.hard);
    }
}

/* Each of the kernel's, by its name in <sys/resource.h>. */
static void test_names(void **state)
{
    static const char *const names[] = {"as=1",     "core=1",   "cpu=1",        "data=1",
                                        "fsize=1",  "locks=1",  "memlock=1",    "nice=1",
                                        "rss=1",    "nofile=1", "msgqueue=1",   "nproc=1",
                                        "rtprio=1", "rttime=1", "sigpending=1", "stack=1"};
    uint32_t seen = 0;
    assert_int_equal(ELEMENTS(names), RLIM_NLIMITS);
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        struct rlimit_wish wish = {0};
        struct error err = {0};
        if (rlimit_parse(names[i], &wish, "--ulimit", &err) < 0)
            fail_msg("%s", err.text);
        seen |= 1U << wish.resource;
        assert_non_null(text_after(names[i], rlimit_name(wish.resource)));
    }
    assert_int_equal(seen, (1U << RLIM_NLIMITS) - 1);
    assert_string_equal(rlimit_name(99), "?");
}

static void test_bad(void **state)
{
    static const char *const bad[] = {
        "",
        "nofile",
        "nofile=",
        "=1",
        "nofile=x",
        "nofile=1:",
        "nofile=:1",
        "nofile=2:1",
        "nofile=1:2:3",
        "nofile=64k",
        "nofile=-2",
        "nofile=1.5",
        "NOFILE=1",
        "files=1",
        "nofile =1",
        "nofile= 1",
        "cpu=1500ms",
        "cpu=0s",
        "as=1y",
        "as=-1M",
        "unlimited",
        "nofile=unlimited:5",
        "nproc=9223372036854775808",
        "stack=99999999T",
        "nofile=1111111111111111111111111111111111111111111111111111111111111111111111111111",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct rlimit_wish wish = {.resource = 77};
        struct error err = {0};
        if (rlimit_parse(bad[i], &wish, "--ulimit", &err) != -EINVAL || wish.resource != 77)
            fail_msg("\"%s\" was taken", bad[i]);
        assert_non_null(text_after(err.text, "--ulimit: "));
    }
}

static void test_lists(void **state)
{
    struct error err = {0};
    struct rlimit_wishes wishes = {.n = 1, .items = {{RLIMIT_AS, 1, 1}}};
    assert_int_equal(rlimits_parse(" nofile=1  core=0 nofile=5:6 ", &wishes, "Ulimits=", &err),
                     0);
    assert_int_equal(wishes.n, 2);
    assert_int_equal(rlimits_find(&wishes, RLIMIT_NOFILE)->hard, 6);
    assert_int_equal(rlimits_find(&wishes, RLIMIT_CORE)->soft, 0);
    assert_null(rlimits_find(&wishes, RLIMIT_AS));
    assert_int_equal(rlimits_parse("core=0 x=1", &wishes, "Ulimits=", &err), -EINVAL);
    assert_int_equal(wishes.n, 2);
    assert_int_equal(rlimits_parse("", &wishes, "Ulimits=", &err), 0);
    assert_int_equal(wishes.n, 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_good),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_bad),
        cmocka_unit_test(test_lists),
    };
    return cmocka_run_group_tests_name("rlimits", tests, NULL, NULL);
}
