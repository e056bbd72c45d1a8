/* SPDX-License-Identifier: Apache-2.0 */
/* Decoding of a request's larger parts: its limits, its display. No privilege. */
#include "request_decode.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void test_limits(void **state)
{
    static const char *const good[] = {
        "\"memory_bytes\":4194304",
        "\"memory_bytes\":9007199254740992",
        "\"swap_bytes\":0",
        "\"swap_bytes\":9007199254740992",
        "\"cpus_milli\":10",
        "\"cpus_milli\":8192000",
        "\"pids\":2",
        "\"pids\":4194304",
        "\"disk_bytes\":1048576",
        "\"disk_bytes\":9007199254740992",
        "\"cpuset\":\"0\"",
        "\"cpuset\":\"0-3,8191\"",
        "\"io_weight\":1",
        "\"io_weight\":10000",
        "\"memory_bytes\":null",
        "\"pids\":null",
    };
    static const char *const bad[] = {
        "\"memory_bytes\":0",
        "\"memory_bytes\":4194303",
        "\"memory_bytes\":-1",
        "\"memory_bytes\":9007199254740993",
        "\"memory_bytes\":\"1G\"",
        "\"swap_bytes\":-1",
        "\"swap_bytes\":true",
        "\"cpus_milli\":0",
        "\"cpus_milli\":9",
        "\"cpus_milli\":0.5",
        "\"cpus_milli\":8192001",
        "\"disk_bytes\":0",
        "\"disk_bytes\":1048575",
        "\"disk_bytes\":\"1G\"",
        "\"cpuset\":0",
        "\"cpuset\":\"\"",
        "\"cpuset\":\"8192\"",
        "\"cpuset\":\"0\\u0000\"",
        "\"io_weight\":0",
        "\"io_weight\":10001",
        "\"pids\":0",
        "\"pids\":1",
        "\"pids\":4194305",
        "\"pids\":[]",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++)
        expect_accepted(good[i]);
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        char name[32];
        (void)snprintf(name, sizeof(name), "%.*s", (int)strcspn(bad[i], ":"), bad[i]);
        expect_refused(bad[i], name);
    }
}

/* The template's own init is nobody's command, and needs a console. */
static void test_boot(void **state)
{
    expect_accepted("\"boot\":true,\"tty\":true");
    expect_accepted("\"boot\":true,\"tty\":true,\"argv\":[],\"user\":null");
    expect_accepted("\"boot\":false,\"argv\":[\"true\"]");
    expect_refused("\"boot\":true", "tty");
    expect_refused("\"boot\":true,\"tty\":true,\"argv\":[\"true\"]", "a command cannot");
    expect_refused("\"boot\":true,\"tty\":true,\"argv_base64\":[\"/w==\"]", "a command cannot");
    expect_refused("\"boot\":true,\"tty\":true,\"user\":\"root\"", "--user");
    expect_refused("\"boot\":true,\"tty\":true,\"here\":true", "--here");
    expect_refused("\"boot\":true,\"tty\":true,\"workdir\":\"/\"", "--workdir");
}

/* Without an option there is no limit, and no swap is one. */
static void test_limits_are_kept_apart(void **state)
{
    _cleanup_run_request_ struct run_request none = {0};
    _cleanup_run_request_ struct run_request no_swap = {0};
    _cleanup_run_request_ struct run_request all = {0};
    struct error err;
    assert_int_equal(decode_with("", &none, &err), 0);
    assert_false(none.limits.has_swap);
    assert_int_equal(decode_with("\"swap_bytes\":0", &no_swap, &err), 0);
    assert_true(no_swap.limits.has_swap && no_swap.limits.swap_bytes == 0);
    assert_int_equal(decode_with("\"memory_bytes\":4194305,\"swap_bytes\":7,"
                                 "\"cpus_milli\":500,\"pids\":9,\"disk_bytes\":2097152,"
                                 "\"cpuset\":\"1,3\",\"io_weight\":5",
                                 &all, &err),
                     0);
    assert_int_equal(all.limits.memory_bytes, 4194305);
    assert_int_equal(all.limits.swap_bytes, 7);
    assert_int_equal(all.limits.cpus_milli, 500);
    assert_int_equal(all.limits.pids, 9);
    assert_int_equal(all.limits.disk_bytes, 2097152);
    assert_string_equal(all.limits.cpuset, "1,3");
    assert_int_equal(all.limits.io_weight, 5);
}

#define DISPLAY(rest)      "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/run/user/0\"" rest "}"
#define FILE_OF(name, hex) "{\"name\":\"" name "\",\"hex\":\"" hex "\"}"
#define BIND(target, rest) "{\"fd\":0,\"source\":\"/s\",\"target\":\"" target "\"" rest "}"

static void test_display(void **state)
{
    _cleanup_run_request_ struct run_request request = {0};
    struct error err;
    assert_int_equal(
        decode_with(DISPLAY(",\"files\":[" FILE_OF("a", "00ff") "]"), &request, &err), 0);
    assert_string_equal(request.display.directory, "/run/user/0");
    assert_int_equal(request.display.n_files, 1);
    assert_string_equal(request.display.files[0].hex, "00ff");
    expect_accepted(DISPLAY(""));
    expect_accepted("\"display\":null");
    static const char *const refused[] = {
        "\"display\":1",
        "\"display\":[]",
        "\"display\":{}",
        "\"display\":{\"kinds\":[\"x11\"]}",
        "\"display\":{\"kinds\":[],\"directory\":\"/run/user/0\"}",
        "\"display\":{\"kinds\":[\"x\"],\"directory\":\"/run/user/0\"}",
        "\"display\":{\"kinds\":[1],\"directory\":\"/run/user/0\"}",
        "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/run/user/\"}",
        "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/run/user/..\"}",
        "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/run/user/a/b\"}",
        "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/etc\"}",
        "\"display\":{\"kinds\":[\"x11\"],\"directory\":\"/run/user/a\\u0000\"}",
        DISPLAY(",\"more\":1"),
        DISPLAY(",\"files\":1"),
        DISPLAY(",\"files\":[1]"),
        DISPLAY(",\"files\":[" FILE_OF("", "00") "]"),
        DISPLAY(",\"files\":[" FILE_OF("a/b", "00") "]"),
        DISPLAY(",\"files\":[" FILE_OF("..", "00") "]"),
        DISPLAY(",\"files\":[" FILE_OF("a", "0") "]"),
        DISPLAY(",\"files\":[" FILE_OF("a", "0g") "]"),
        DISPLAY(",\"files\":[" FILE_OF("a", "00") "," FILE_OF("a", "00") "]"),
        DISPLAY(",\"files\":[" FILE_OF("a", "") "," FILE_OF("b", "") "," FILE_OF(
            "c", "") "," FILE_OF("d", "") "," FILE_OF("e", "") "]"),
    };
    for (size_t i = 0; i < ELEMENTS(refused); i++)
        expect_refused(refused[i], "\"display\"");
}

static void test_display_is_not_covered(void **state)
{
#define SOCKET BIND("/tmp/x/s", ",\"read_only\":true,\"connect\":true")
    expect_accepted(DISPLAY("") ",\"binds\":[" SOCKET "," BIND("/tmp/y", "") "]");
    expect_accepted(DISPLAY("") ",\"binds\":[" SOCKET "," BIND("/run/user/1", "") "]");
    expect_accepted(DISPLAY("") ",\"binds\":[" SOCKET "],\"tmpfs\":[{\"target\":\"/tmp\"}]");
    expect_refused(DISPLAY("") ",\"binds\":[" SOCKET "," BIND("/tmp", "") "]", "/tmp/x/s");
    expect_refused(DISPLAY("") ",\"binds\":[" SOCKET "," BIND("/tmp/x", "") "]", "/tmp/x/s");
    expect_refused(DISPLAY("") ",\"binds\":[" BIND("/run", "") "]", "/run/user/0");
    expect_refused(DISPLAY("") ",\"binds\":[" BIND("/run/user/0", "") "]", "/run/user/0");
    expect_refused(DISPLAY("") ",\"tmpfs\":[{\"target\":\"/run/user\"}]", "/run/user/0");
}

/* What is written down and shown of a request. */
static void test_secrets_are_left_out(void **state)
{
    json_error_t where;
    json_t *with = json_loads("{\"user\":\"u\"," DISPLAY(",\"files\":[1]") "}", 0, &where);
    json_t *plain = json_loads("{\"user\":\"u\"}", 0, &where);
    assert_non_null(with);
    json_t *shown = run_display_without_secrets(with);
    assert_null(json_object_get(json_object_get(shown, "display"), "files"));
    assert_non_null(json_object_get(json_object_get(shown, "display"), "kinds"));
    assert_non_null(json_object_get(json_object_get(with, "display"), "files"));
    assert_string_equal(json_string_value(json_object_get(shown, "user")), "u");
    json_t *same = run_display_without_secrets(plain);
    assert_ptr_equal(same, plain);
    json_decref(same);
    json_decref(plain);
    json_decref(shown);
    json_decref(with);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_limits),
        cmocka_unit_test(test_boot),
        cmocka_unit_test(test_limits_are_kept_apart),
        cmocka_unit_test(test_display),
        cmocka_unit_test(test_display_is_not_covered),
        cmocka_unit_test(test_secrets_are_left_out),
    };
    return cmocka_run_group_tests_name("request_parts", tests, NULL, NULL);
}
