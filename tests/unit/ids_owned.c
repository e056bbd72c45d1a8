/* SPDX-License-Identifier: Apache-2.0 */
/* Ids of sandboxes against the ids of others, from text. Needs no privilege. */
#include "spec/ids_owned.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct id_span DEFAULT = {1879048192, 2147352575};
static const struct id_span SMALL = {100000, 165535};

static size_t find(const char *text, enum ids_owned_format format, const struct id_span *ids,
                   struct ids_owner *hit)
{
    *hit = (struct ids_owner){0};
    return ids_owned_find(text, format, ids, hit);
}

static void test_default_is_between_systemds_ranges(void **state)
{
    struct ids_owner hit;
    assert_int_equal(ids_owned_find_systemd(&DEFAULT, &hit), 0);
}

static void test_systemd_ranges_at_their_edges(void **state)
{
    static const struct {
        struct id_span ids;
        size_t hits;
    } cases[] = {
        {{65536, 524287}, 0},          {{65536, 524288}, 1},
        {{1879048191, 1879048192}, 1}, {{2147352575, 2147352575}, 0},
        {{2147352576, 2147352576}, 1}, {{2147418111, 2147500000}, 1},
        {{2147418112, 2147500000}, 0}, {{0, UINT32_MAX}, 2},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct ids_owner hit;
        assert_int_equal(ids_owned_find_systemd(&cases[i].ids, &hit), cases[i].hits);
    }
}

static void test_subordinate_edges(void **state)
{
    static const struct {
        const char *text;
        size_t hits;
    } cases[] = {
        {"a:34464:65536\n", 0}, /* 34464-99999 */
        {"a:34465:65536\n", 1}, /* its last id is 100000 */
        {"a:165535:1\n", 1},    {"a:165536:65536\n", 0}, {"a:0:4294967296\n", 1},
        {"a:120000:10\n", 1},   {"a:120000:0\n", 0},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct ids_owner hit;
        assert_int_equal(find(cases[i].text, IDS_OWNED_SUBORDINATE, &SMALL, &hit),
                         cases[i].hits);
    }
}

static void test_first_hit_is_named_and_all_are_counted(void **state)
{
    struct ids_owner hit;
    const char *text = "far:200000:65536\nalice:90000:20000\nbob:165000:65536";
    assert_int_equal(find(text, IDS_OWNED_SUBORDINATE, &SMALL, &hit), 2);
    assert_string_equal(hit.owner, "alice");
    assert_int_equal(hit.ids.first, 90000);
    assert_int_equal(hit.ids.last, 109999);
}

static void test_last_line_without_newline_counts(void **state)
{
    struct ids_owner hit;
    assert_int_equal(find("bob:165000:65536", IDS_OWNED_SUBORDINATE, &SMALL, &hit), 1);
    assert_string_equal(hit.owner, "bob");
}

static void test_lines_that_are_no_entry(void **state)
{
    static const char *const texts[] = {
        "",
        "\n\n",
        "#a:100000:65536\n",
        "+::::\n",
        ":100000:65536\n",
        "a:100000\n",
        "a\n",
        ":::\n",
        "a:-1:65536\n",
        "a:0x186a0:65536\n",
        "a: 100000:65536\n",
        "a:100000:x\n",
        "a:99999999999999999999999:1\n",
        "a:4294967296:65536\n",
        "a:1:18446744073709551616\n",
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct ids_owner hit;
        assert_int_equal(find(texts[i], IDS_OWNED_SUBORDINATE, &SMALL, &hit), 0);
    }
}

static void test_users_by_uid_and_by_gid(void **state)
{
    struct ids_owner hit;
    const char *text = "root:x:0:0:root:/root:/bin/sh\n"
                       "carol:x:1000:1000::/home/carol:/bin/sh\n"
                       "dave:x:100001:1000::/home/dave:/bin/sh\n"
                       "erin:x:1001:165535::/home/erin:/bin/sh\n";
    assert_int_equal(find(text, IDS_OWNED_PASSWD, &SMALL, &hit), 2);
    assert_string_equal(hit.owner, "dave");
    assert_int_equal(hit.ids.first, 100001);
    assert_int_equal(hit.ids.last, 100001);
}

static void test_groups(void **state)
{
    struct ids_owner hit;
    /* the members of a group are no ids */
    const char *text = "users:x:100:100001\nbig:x:100002:carol,dave\n";
    assert_int_equal(find(text, IDS_OWNED_GROUP, &SMALL, &hit), 1);
    assert_string_equal(hit.owner, "big");
}

static void test_overlong_fields(void **state)
{
    struct ids_owner hit;
    char text[400];
    (void)snprintf(text, sizeof(text), "%0100d:100000:1\nb:%0100d:1\n", 7, 100000);
    /* a long name is cut, a long number is no number */
    assert_int_equal(find(text, IDS_OWNED_SUBORDINATE, &SMALL, &hit), 1);
    assert_int_equal(strlen(hit.owner), sizeof(hit.owner) - 1);
}

static void test_by_owner(void **state)
{
    static const char text[] = "# mary:1:1\nother:5:5\nmary:100000:65536\n1234:7:1\nmary:9:x\n"
                               "mary:200000:10\nmary\n:3:3\n";
    struct id_span own = {0};
    assert_int_equal(ids_owned_by(text, "mary", 1234, &own), 3);
    assert_int_equal(own.first, 100000);
    assert_int_equal(own.last, 165535);
    assert_int_equal(ids_owned_by(text, "", 1234, &own), 1);
    assert_int_equal(own.first, 7);
    assert_int_equal(own.last, 7);
    assert_int_equal(ids_owned_by(text, "mar", 12, &own), 0);
    assert_int_equal(ids_owned_by(text, "", 12, &own), 0);
    assert_int_equal(ids_owned_by("", "mary", 1234, &own), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_by_owner),
        cmocka_unit_test(test_default_is_between_systemds_ranges),
        cmocka_unit_test(test_systemd_ranges_at_their_edges),
        cmocka_unit_test(test_subordinate_edges),
        cmocka_unit_test(test_first_hit_is_named_and_all_are_counted),
        cmocka_unit_test(test_last_line_without_newline_counts),
        cmocka_unit_test(test_lines_that_are_no_entry),
        cmocka_unit_test(test_users_by_uid_and_by_gid),
        cmocka_unit_test(test_groups),
        cmocka_unit_test(test_overlong_fields),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
