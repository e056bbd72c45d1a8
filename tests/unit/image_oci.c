/* SPDX-License-Identifier: Apache-2.0 */
/* The pure parts of reading images: digests, what a configuration says, names that are counted,
 * progress. What is done with whole images: tests/e2e/test_image.py. */
#include "image/key_map.h"
#include "image/oci.h"
#include "image/progress.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <string.h>

#define HEX32 "0123456789abcdef0123456789abcdef"

static void test_digests(void **state)
{
    assert_true(digest_is_valid("sha256:" HEX32 HEX32));
    static const char *const wrong[] = {
        "",
        "sha256:",
        HEX32 HEX32,
        "sha256:" HEX32,
        "sha256:" HEX32 HEX32 "0",
        "sha512:" HEX32 HEX32,
        "SHA256:" HEX32 HEX32,
        "sha256:../../etc/passwd" HEX32 "fedcba987",
        "sha256:" HEX32 "0123456789ABCDEF0123456789abcdef",
    };
    for (size_t i = 0; i < ELEMENTS(wrong); i++)
        assert_false(digest_is_valid(wrong[i]));
}

static char *defaults_of(const char *config)
{
    struct error err = {0};
    json_t *out = NULL;
    json_t *value = json_loads(config, 0, NULL);
    assert_non_null(value);
    char *text = NULL;
    if (oci_defaults(value, &out, &err) == 0) {
        text = json_dumps(out, JSON_COMPACT);
        json_decref(out);
    } else {
        assert_int_equal(err.code, ERROR_INVALID);
    }
    json_decref(value);
    return text;
}

static void test_defaults(void **state)
{
    static const char *const cases[][2] = {
        {"{}", "{}"},
        {"{\"config\":null}", "{}"},
        {"{\"config\":{\"Cmd\":null,\"Env\":[],\"User\":\"\",\"Labels\":{\"a\":\"b\"}}}", "{}"},
        {"{\"config\":{\"Entrypoint\":[\"a\"],\"Cmd\":[\"b\",\"\"],\"Env\":[\"A=b\",\"C\",\"="
         "d\"],"
         "\"WorkingDir\":\"srv\",\"User\":\"u:g\"}}",
         "{\"entrypoint\":[\"a\"],\"cmd\":[\"b\",\"\"],\"env\":[\"A=b\"],\"workdir\":\"/srv\","
         "\"user\":\"u:g\"}"},
        {"{\"config\":[]}", NULL},
        {"{\"config\":{\"Cmd\":\"a\"}}", NULL},
        {"{\"config\":{\"Cmd\":[1]}}", NULL},
        {"{\"config\":{\"User\":[]}}", NULL},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char *text = defaults_of(cases[i][0]);
        if (cases[i][1])
            assert_string_equal(text, cases[i][1]);
        else
            assert_null(text);
        free(text);
    }
}

static void test_names(void **state)
{
    _cleanup_key_map_ struct key_map map = {0};
    char name[32];
    uint32_t value = 0;
    for (uint32_t i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof(name), "name-%u", i);
        assert_int_equal(key_map_put(&map, key_map_name(&map, i % 7, name), i), 0);
    }
    assert_int_equal(map.n, 100000);
    for (uint32_t i = 0; i < 100000; i++) {
        (void)snprintf(name, sizeof(name), "name-%u", i);
        assert_true(key_map_get(&map, key_map_name(&map, i % 7, name), &value));
        assert_int_equal(value, i);
        assert_false(key_map_get(&map, key_map_name(&map, i % 7 + 1, name), NULL));
    }
    /* of another map they are others: nobody can have them collide */
    _cleanup_key_map_ struct key_map other = {0};
    assert_true(key_map_name(&map, 1, "a") != key_map_name(&other, 1, "a"));
}

static void test_progress(void **state)
{
    char text[128];
    struct progress_counters counters = {.entries = 7, .bytes = 3U << 20};
    progress_text("unpack", &counters, 2000, text, sizeof(text));
    assert_string_equal(text, "unpack: 7 entries, 3.0 MiB, 1.5 MiB/s");
    counters.total = 8U << 20;
    counters.input = 2U << 20;
    progress_text("unpack", &counters, 2000, text, sizeof(text));
    assert_string_equal(text,
                        "unpack: 7 entries, 3.0 MiB, 1.5 MiB/s, 25% of 8.0 MiB, 6 s left");
    counters.input = 9U << 20; /* the file has grown */
    progress_text("unpack", &counters, 2000, text, sizeof(text));
    assert_non_null(strstr(text, "100% of 8.0 MiB, 0 s left"));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_digests),
        cmocka_unit_test(test_defaults),
        cmocka_unit_test(test_names),
        cmocka_unit_test(test_progress),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
