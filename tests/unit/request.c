/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of a run's request: what a caller may send, and everything else. No privilege. */
#include "request_decode.h"

#include "base/text.h"
#include "sys/caps.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_least(void **state)
{
    _cleanup_run_request_ struct run_request request = {0};
    struct error err;
    assert_int_equal(decode_with("", &request, &err), 0);
    assert_string_equal(request.template_name, "debian");
    assert_int_equal(request.control, 0);
    assert_int_equal(request.capabilities, caps_default());
    assert_int_equal(request.n_argv, 0);
    assert_int_equal(request.n_env, 0);
    assert_false(request.host_network);
    assert_null(request.user);
}

static void test_all(void **state)
{
    _cleanup_run_request_ struct run_request request = {0};
    struct error err;
    int r = decode(
        "{\"client\":\"1\",\"template\":\"t\",\"generation\":\"g\",\"storage\":\"overlay\","
        "\"engine\":\"native\",\"name\":\"N\",\"keep\":true,\"hold\":true,"
        "\"argv\":[\"a\",\"\"],\"env\":[\"A=\",\"B=c=d\"],\"user\":\"u:g\","
        "\"workdir\":\"/w\",\"hostname\":\"h\",\"owner\":\"o\",\"here\":true,"
        "\"network\":\"host\",\"read_only\":true,\"tty\":true,\"timeout_ms\":5,"
        "\"cap_add\":[\"NET_ADMIN\"],\"cap_drop\":[\"ALL\"],"
        "\"binds\":[{\"fd\":0,\"target\":\"/t\",\"source\":\"/s\",\"read_only\":true,"
        "\"recursive\":true}],\"tmpfs\":[{\"target\":\"/x\",\"size_bytes\":7}],"
        "\"control\":1}",
        &request, &err);
    assert_int_equal(r, 0);
    assert_string_equal(request.generation, "g");
    assert_int_equal(request.n_argv, 2);
    assert_string_equal(request.argv[1], "");
    assert_null(request.argv[2]);
    assert_string_equal(request.env[1], "B=c=d");
    assert_null(request.env[2]);
    assert_true(request.keep && request.hold && request.here && request.read_only &&
                request.tty);
    assert_true(request.host_network);
    assert_int_equal(request.timeout_ms, 5);
    /* dropped before added, whatever the order of the members */
    assert_int_equal(request.capabilities, CAP_BIT(CAP_NET_ADMIN));
    assert_int_equal(request.binds[0].fd, 0);
    assert_string_equal(request.binds[0].source, "/s");
    assert_true(request.binds[0].read_only && request.binds[0].recursive);
    assert_int_equal(request.tmpfs[0].size_bytes, 7);
    assert_int_equal(request.control, 1);
}

static void test_null_is_absent(void **state)
{
    expect_accepted("\"user\":null,\"argv\":null,\"tty\":null,\"binds\":null");
}

static void test_types(void **state)
{
    static const char *const strings[] = {"client", "generation", "storage",  "engine", "name",
                                          "user",   "workdir",    "hostname", "owner"};
    static const char *const bools[] = {"keep", "hold", "here", "read_only",
                                        "tty",  "host", "boot"};
    static const char *const lists[] = {"argv",    "argv_base64", "env",   "env_base64",
                                        "cap_add", "cap_drop",    "binds", "tmpfs"};
    static const char *const not_strings[] = {"1", "true", "[]", "{}", "1.5", "\"a\\u0000b\""};
    static const char *const not_bools[] = {"1", "\"true\"", "[]", "{}", "0"};
    static const char *const not_lists[] = {"1",   "\"a\"",  "{}",  "true",
                                            "[1]", "[null]", "[[]]"};
    char member[128];
    for (size_t i = 0; i < ELEMENTS(strings); i++)
        for (size_t k = 0; k < ELEMENTS(not_strings); k++) {
            (void)snprintf(member, sizeof(member), "\"%s\":%s", strings[i], not_strings[k]);
            expect_refused(member, strings[i]);
        }
    for (size_t i = 0; i < ELEMENTS(bools); i++)
        for (size_t k = 0; k < ELEMENTS(not_bools); k++) {
            (void)snprintf(member, sizeof(member), "\"%s\":%s", bools[i], not_bools[k]);
            expect_refused(member, bools[i]);
        }
    for (size_t i = 0; i < ELEMENTS(lists); i++)
        for (size_t k = 0; k < ELEMENTS(not_lists); k++) {
            (void)snprintf(member, sizeof(member), "\"%s\":%s", lists[i], not_lists[k]);
            expect_refused(member, "");
        }
}

static void test_numbers(void **state)
{
    static const char *const bad[] = {"-1", "1.5", "1e3", "\"5\"", "true", "9007199254740993",
                                      "[]"};
    char member[128];
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        (void)snprintf(member, sizeof(member), "\"timeout_ms\":%s", bad[i]);
        expect_refused(member, "timeout_ms");
    }
    expect_accepted("\"timeout_ms\":9007199254740992");
}

static void test_long_strings(void **state)
{
    char member[4400];
    char path[4097];
    memset(path, 'a', sizeof(path));
    path[0] = '/';
    path[4095] = '\0';
    (void)snprintf(member, sizeof(member), "\"workdir\":\"%s\"", path);
    expect_accepted(member);
    path[4095] = 'a';
    path[4096] = '\0';
    (void)snprintf(member, sizeof(member), "\"workdir\":\"%s\"", path);
    expect_refused(member, "workdir");
}

static void test_values(void **state)
{
    static const struct {
        const char *member;
        const char *needle;
    } bad[] = {
        {"\"surprise\":1", "surprise"},
        {"\"Template\":\"x\"", "Template"},
        {"\"argv\":[\"\"]", "empty string"},
        {"\"argv\":[\"a\\u0000b\"]", "argv"},
        {"\"argv\":[\"a\"],\"argv_base64\":[\"YQ==\"]", "argv"},
        {"\"argv_base64\":[\"YQ=\"]", "argv_base64"},
        {"\"argv_base64\":[\"AA==\"]", "argv_base64"},
        {"\"env\":[\"A\"]", "NAME=VALUE"},
        {"\"env\":[\"=a\"]", "NAME=VALUE"},
        {"\"env\":[\"\"]", "NAME=VALUE"},
        {"\"env_base64\":[\"QQ==\"]", "NAME=VALUE"},
        {"\"network\":\"bridge\"", "bridge"},
        {"\"network\":1", "network"},
        {"\"cap_add\":[\"NET_ADMINS\"]", "NET_ADMINS"},
        {"\"cap_drop\":[\"\"]", "capability"},
        {"\"name\":\"../x\"", "sandbox name"},
        {"\"name\":\"\"", "sandbox name"},
        {"\"hostname\":\"a b\"", "hostname"},
        {"\"workdir\":\"srv\"", "not absolute"},
        {"\"workdir\":\"\"", "not absolute"},
        {"\"root\":\"/srv\",\"root_fd\":1", "exactly one"},
        {"\"kept\":\"x\"", "exactly one"},
        {"\"host\":true,\"root_fd\":1", "exactly one"},
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        expect_refused(bad[i].member, bad[i].needle);
    expect_accepted("\"cap_add\":[\"cap_net_admin\",\"CAP_SYS_TIME\",\"all\"]");
    expect_accepted("\"argv_base64\":[\"/w==\"]");
    expect_accepted("\"env\":[]");
}

static void test_sources(void **state)
{
    static const struct {
        const char *text;
        bool valid;
    } cases[] = {
        {"{\"control\":0}", false},
        {"{\"template\":\"t\",\"control\":0}", true},
        {"{\"template\":\"T\",\"control\":0}", false},
        {"{\"template\":\"\",\"control\":0}", false},
        {"{\"template\":\"t_1234567890123456789\",\"control\":0}", false},
        {"{\"root\":\"/srv\",\"root_fd\":1,\"control\":0}", true},
        {"{\"host\":true,\"root_fd\":1,\"control\":0}", true},
        {"{\"host\":false,\"control\":0}", false},
        {"{\"kept\":\"x\",\"control\":0}", true},
        {"{\"template\":\"t\"}", false},
        {"{}", false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_run_request_ struct run_request request = {0};
        struct error err;
        if ((decode(cases[i].text, &request, &err) == 0) != cases[i].valid)
            fail_msg("%s: %s", cases[i].text, err.text);
    }
}

static void test_fd_indexes(void **state)
{
    static const char *const bad[] = {"3", "4294967295", "4294967296", "-1", "1.0", "\"0\""};
    char text[256];
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct run_request request;
        struct error err;
        (void)snprintf(text, sizeof(text), "{\"template\":\"t\",\"control\":%s}", bad[i]);
        assert_true(decode(text, &request, &err) < 0);
        (void)snprintf(text, sizeof(text), "{\"root\":\"/s\",\"root_fd\":%s,\"control\":0}",
                       bad[i]);
        assert_true(decode(text, &request, &err) < 0);
        (void)snprintf(text, sizeof(text),
                       "\"binds\":[{\"fd\":%s,\"target\":\"/t\",\"source\":\"s\"}]", bad[i]);
        expect_refused(text, "fd");
    }
}

static void test_binds(void **state)
{
    static const char *const bad[] = {
        "\"binds\":[{}]",
        "\"binds\":[1]",
        "\"binds\":[{\"fd\":1,\"target\":\"/t\"}]",
        "\"binds\":[{\"fd\":1,\"source\":\"s\"}]",
        "\"binds\":[{\"target\":\"/t\",\"source\":\"s\"}]",
        "\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\",\"more\":1}]",
        "\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\",\"read_only\":1}]",
        "\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\",\"recursive\":null}]",
        "\"binds\":[{\"fd\":1,\"target\":\"t\",\"source\":\"s\"}]",
        "\"binds\":[{\"fd\":1,\"target\":5,\"source\":\"s\"}]",
        "\"tmpfs\":[{}]",
        "\"tmpfs\":[\"/t\"]",
        "\"tmpfs\":[{\"target\":\"/t\",\"size_bytes\":-1}]",
        "\"tmpfs\":[{\"target\":\"/t\",\"size_bytes\":\"1\"}]",
        "\"tmpfs\":[{\"target\":\"/\"}]",
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        expect_refused(bad[i], "");
}

static void test_duplicate_targets(void **state)
{
    expect_refused("\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\"},"
                   "{\"fd\":2,\"target\":\"/t\",\"source\":\"s\"}]",
                   "two binds or tmpfs at /t");
    expect_refused("\"tmpfs\":[{\"target\":\"/t\"},{\"target\":\"/t\"}]", "two binds");
    expect_refused("\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\"}],"
                   "\"tmpfs\":[{\"target\":\"/t\"}]",
                   "two binds");
    expect_accepted("\"binds\":[{\"fd\":1,\"target\":\"/t\",\"source\":\"s\"},"
                    "{\"fd\":1,\"target\":\"/t/u\",\"source\":\"s\"}]");
}

static json_t *list_of(size_t n, const char *item)
{
    json_t *list = json_array();
    for (size_t i = 0; i < n; i++)
        (void)json_array_append_new(list, json_string(item));
    return list;
}

static void test_counts(void **state)
{
    static const struct {
        const char *name;
        size_t n;
        bool valid;
    } cases[] = {
        {"argv", START_STRINGS, true},     {"argv", START_STRINGS + 1, false},
        {"env", START_STRINGS, true},      {"env", START_STRINGS + 1, false},
        {"binds", START_BINDS + 1, false}, {"tmpfs", START_TMPFS + 1, false},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        _cleanup_run_request_ struct run_request request = {0};
        struct error err = {0};
        json_t *value = json_pack("{s:s, s:i, s:o}", "template", "t", "control", 0,
                                  cases[i].name, list_of(cases[i].n, "A=b"));
        int r = decode_json(value, &request, &err);
        json_decref(value);
        if ((r == 0) != cases[i].valid)
            fail_msg("%s %zu: %s", cases[i].name, cases[i].n, err.text);
    }
}

static void test_targets(void **state)
{
    static const char *const good[] = {"/a",      "/a/b.c/..d", "/tmp", "/process",
                                       "/system", "/dev/ptsx",  "/dev", "/...",
                                       "/a b\n",  "/a/proc"};
    static const char *const bad[] = {
        "",       "a",       "/",    "//",      "/a/",      "/a//b",      "//a",  "/.",
        "/./a",   "/a/.",    "/..",  "/a/..",   "/a/../b",  "/../etc",    "../a", "/proc",
        "/proc/", "/proc/1", "/sys", "/sys/fs", "/dev/pts", "/dev/pts/0",
    };
    char name[300] = "/";
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (target_check(good[i], "bind", NULL) != 0)
            fail_msg("\"%s\" is refused", good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++)
        if (target_check(bad[i], "bind", NULL) >= 0)
            fail_msg("\"%s\" passes", bad[i]);
    memset(name + 1, 'a', 256);
    name[256] = '\0'; /* 255 letters */
    assert_int_equal(target_check(name, "bind", NULL), 0);
    name[256] = 'a';
    assert_true(target_check(name, "bind", NULL) < 0);
}

static void test_nothing_is_ignored(void **state)
{
    expect_refused("\"tmpfs\":[{\"target\":\"/t\",\"mode\":5}]", "tmpfs");
}

static void test_control_null(void **state)
{
    struct run_request request;
    struct error err;
    assert_true(decode("{\"template\":\"t\",\"control\":null}", &request, &err) < 0);
}

/* Who only asks sends no control socket, and is told of everything else that is wrong. */
static void test_asked(void **state)
{
    static const struct {
        const char *text;
        bool good;
    } requests[] = {
        {"{\"template\":\"t\"}", false},
        {"{\"template\":\"t\",\"control\":0}", true},
        {"{\"template\":\"t\",\"control\":1}", false},
        {"{\"host\":true,\"root_fd\":0}", true},
        {"{\"host\":true}", false},
        {"{\"template\":\"t\",\"pids\":1}", false},
        {"{\"template\":\"t\",\"none\":1}", false},
        {"{}", false},
    };
    for (size_t i = 0; i < ELEMENTS(requests); i++) {
        _cleanup_run_request_ struct run_request request = {0};
        struct error err = {0};
        json_t *value = json_loads(requests[i].text, 0, NULL);
        bool good = run_request_decode_asked(value, 1, &request, &err) == 0;
        json_decref(value);
        if (good != requests[i].good)
            fail_msg("%s: %s", requests[i].text, good ? "accepted" : err.text);
    }
}

/* Every member that is accepted has a name to be found by. */
static void test_members(void **state)
{
    size_t n = 0;
    while (run_request_member(n) && !streq(run_request_member(n), "template"))
        n++;
    assert_non_null(run_request_member(n));
    for (; run_request_member(n); n++)
        assert_true(n < 100);
}

static void test_root_needs_its_fd(void **state)
{
    struct run_request request;
    struct error err;
    assert_true(decode("{\"root\":\"/srv\",\"control\":0}", &request, &err) < 0);
    assert_true(decode("{\"host\":true,\"control\":0}", &request, &err) < 0);
}

static void test_fd_that_nothing_names(void **state)
{
    static const char *const texts[] = {"{\"template\":\"t\",\"control\":0}",
                                        "{\"template\":\"t\",\"control\":1}"};
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct run_request request;
        struct error err = {0};
        json_t *value = json_loads(texts[i], 0, NULL);
        assert_true(run_request_decode(value, 2, &request, &err) < 0);
        assert_non_null(strstr(err.text, i == 0 ? "fd 1 of" : "fd 0 of"));
        json_decref(value);
    }
}

static void test_clear_twice(void **state)
{
    struct run_request request;
    struct error err;
    assert_int_equal(decode_with("\"argv\":[\"a\"],\"user\":\"u\"", &request, &err), 0);
    run_request_clear(&request);
    run_request_clear(&request);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_least),
        cmocka_unit_test(test_all),
        cmocka_unit_test(test_null_is_absent),
        cmocka_unit_test(test_fd_that_nothing_names),
        cmocka_unit_test(test_types),
        cmocka_unit_test(test_numbers),
        cmocka_unit_test(test_long_strings),
        cmocka_unit_test(test_values),
        cmocka_unit_test(test_sources),
        cmocka_unit_test(test_fd_indexes),
        cmocka_unit_test(test_binds),
        cmocka_unit_test(test_duplicate_targets),
        cmocka_unit_test(test_counts),
        cmocka_unit_test(test_targets),
        cmocka_unit_test(test_nothing_is_ignored),
        cmocka_unit_test(test_control_null),
        cmocka_unit_test(test_asked),
        cmocka_unit_test(test_members),
        cmocka_unit_test(test_root_needs_its_fd),
        cmocka_unit_test(test_clear_twice),
    };
    return cmocka_run_group_tests_name("request", tests, NULL, NULL);
}
