/* SPDX-License-Identifier: Apache-2.0 */
/* What comes of the policies of all members, of groups and of a template. Pure. */
#include "spec/policy.h"

#include "base/text.h"
#include "sys/caps.h"

#include <linux/capability.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#define ALL      0
#define GROUP    1 /* and 2 */
#define TEMPLATE 3
#define POLICIES 4

/* What the four sections say; their keys come from "all:1", "group:1" and so on. */
static struct policy said[POLICIES];
static const char *const origins[POLICIES] = {"all:1", "group:1", "other:1", "template:1"};

static int reset(void **state)
{
    for (int i = 0; i < POLICIES; i++)
        policy_clear(&said[i]);
    return 0;
}

static void say(int who, enum policy_key key, const char *text)
{
    struct error err = {0};
    if (policy_set(&said[who], key, text, origins[who], &err) < 0)
        fail_msg("%s=%s: %s", policy_keys[key].name, text, err.text);
}

/* The rights of who is in so many of the groups. */
static struct policy_rights combine(size_t n_groups, bool has_template)
{
    struct error err = {0};
    struct policy_rights rights = {0};
    const struct policy *groups[] = {&said[GROUP], &said[GROUP + 1]};
    assert_int_equal(policy_set_defaults(&said[ALL], &err), 0);
    assert_int_equal(policy_combine(&said[ALL], groups, n_groups,
                                    has_template ? &said[TEMPLATE] : NULL, &rights, &err),
                     0);
    return rights;
}

/* Words of all, of the template, and those that are open in the end. */
static void check_list(const char *all, const char *group, const char *of_template,
                       const char *expected)
{
    static const char *const words[] = {"none", "nat", "host", "bridge=a", "bridge=b"};
    reset(NULL);
    if (all)
        say(ALL, POLICY_NETWORKS, all);
    if (group)
        say(GROUP, POLICY_NETWORKS, group);
    if (of_template)
        say(TEMPLATE, POLICY_NETWORKS, of_template);
    _cleanup_policy_rights_ struct policy_rights rights = combine(group ? 1 : 0, of_template);
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (policy_allows(&rights, POLICY_NETWORKS, words[i]) !=
            text_has_word(expected, words[i]))
            fail_msg("%s + %s, %s: wrong about %s", all, group, of_template, words[i]);
}

static void test_lists(void **state)
{
    check_list(NULL, NULL, NULL, "none");
    check_list("nat", NULL, NULL, "none nat");
    check_list("nat", "host", NULL, "none nat host");
    check_list("nat", "", NULL, "none nat");
    check_list(NULL, "host bridge=a", NULL, "none host bridge=a");
    check_list("nat host", NULL, "nat", "none nat");
    check_list("nat", "host", "host bridge=a", "none host");
    check_list("nat", "host", "", "none");
    check_list("nat bridge=a", NULL, "bridge=b", "none");
    check_list("nat nat none", "nat", "nat nat", "none nat");
}

static void test_list_goes_on_and_begins_anew(void **state)
{
    say(ALL, POLICY_NETWORKS, "nat  host");
    say(ALL, POLICY_NETWORKS, " bridge=a\t");
    assert_int_equal(said[ALL].values[POLICY_NETWORKS].n_words, 3);
    say(ALL, POLICY_NETWORKS, "");
    say(ALL, POLICY_NETWORKS, "host");
    _cleanup_policy_rights_ struct policy_rights rights = combine(0, false);
    assert_true(policy_allows(&rights, POLICY_NETWORKS, "host"));
    assert_false(policy_allows(&rights, POLICY_NETWORKS, "nat"));
}

static void test_engines(void **state)
{
    _cleanup_policy_rights_ struct policy_rights rights = combine(0, false);
    assert_true(policy_allows(&rights, POLICY_ENGINES, "native"));
    assert_true(policy_allows(&rights, POLICY_ENGINES, "oci"));
    assert_false(policy_allows(&rights, POLICY_ENGINES, "chroot"));
    assert_false(policy_allows(&rights, POLICY_ENGINES, "oci:/bin/x"));
    policy_rights_clear(&rights);
    say(GROUP, POLICY_ENGINES, "oci:/bin/x");
    rights = combine(1, false);
    assert_true(policy_allows(&rights, POLICY_ENGINES, "oci:/bin/x"));
    assert_true(policy_allows(&rights, POLICY_ENGINES, "native"));
}

static void test_capabilities(void **state)
{
    _cleanup_policy_rights_ struct policy_rights rights = combine(0, false);
    assert_true(policy_capabilities(&rights) == caps_default());
    policy_rights_clear(&rights);
    say(ALL, POLICY_CAPABILITIES, "default net_raw");
    say(GROUP, POLICY_CAPABILITIES, "CAP_NET_ADMIN");
    rights = combine(1, false);
    assert_true(policy_capabilities(&rights) ==
                (caps_default() | CAP_BIT(CAP_NET_RAW) | CAP_BIT(CAP_NET_ADMIN)));
    policy_rights_clear(&rights);
    say(TEMPLATE, POLICY_CAPABILITIES, "chown NET_RAW SYS_ADMIN");
    rights = combine(1, true);
    assert_true(policy_capabilities(&rights) == (CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_NET_RAW)));
}

static bool counts_swap(int who, const char *swap)
{
    reset(NULL);
    say(ALL, POLICY_MEMORY, "64M");
    if (swap)
        say(who, POLICY_SWAP, swap);
    _cleanup_policy_rights_ struct policy_rights rights = combine(1, true);
    return rights.swap_is_memory;
}

/* What a template's file says takes only away. */
static void test_swap_is_memory(void **state)
{
    assert_true(counts_swap(ALL, NULL));
    assert_false(counts_swap(ALL, "0"));
    assert_false(counts_swap(ALL, "infinity"));
    assert_false(counts_swap(GROUP, "infinity"));
    assert_true(counts_swap(GROUP + 1, "infinity")); /* who is in another group */
    assert_true(counts_swap(TEMPLATE, "1G"));
}

static void check_ceiling(const char *all, const char *group, const char *other,
                          const char *of_template, const char *expected)
{
    const char *const texts[POLICIES] = {all, group, other, of_template};
    char has[32];
    reset(NULL);
    for (int i = 0; i < POLICIES; i++)
        if (texts[i])
            say(i, POLICY_MEMORY, texts[i]);
    _cleanup_policy_rights_ struct policy_rights rights = combine(2, of_template);
    const struct policy_ceiling *ceiling = &rights.ceilings[POLICY_MEMORY];
    policy_print_ceiling(POLICY_MEMORY, ceiling->value, has, sizeof(has));
    assert_string_equal(has, expected);
    if (ceiling->value == POLICY_NO_CEILING)
        return;
    for (int i = 0; i < POLICIES; i++) /* from whom it is */
        if (texts[i] && streq(texts[i], expected)) {
            assert_string_equal(ceiling->from, origins[i]);
            return;
        }
    fail_msg("%s is from nobody", expected);
}

static void test_ceilings(void **state)
{
    check_ceiling(NULL, NULL, NULL, NULL, "infinity");
    check_ceiling("1G", NULL, NULL, NULL, "1G");
    check_ceiling("1G", "2G", "3G", NULL, "3G");
    check_ceiling("1G", "3G", "2G", NULL, "3G");
    check_ceiling("1G", "infinity", NULL, NULL, "infinity");
    check_ceiling("1G", "infinity", NULL, "512M", "512M");
    check_ceiling("1G", NULL, NULL, "2G", "1G");
    check_ceiling("1G", NULL, NULL, "infinity", "1G");
    check_ceiling(NULL, NULL, NULL, "2G", "2G");
    /* nobody gets less by being in a group: policy_check_adds refuses such a file, and where
     * one came here it would take nothing away */
    check_ceiling("2G", "1G", NULL, NULL, "2G");
    check_ceiling(NULL, "1G", NULL, NULL, "infinity");
}

static void test_sandboxes_of_a_template_are_counted_apart(void **state)
{
    say(ALL, POLICY_SANDBOXES, "10");
    say(GROUP, POLICY_SANDBOXES, "20");
    say(TEMPLATE, POLICY_SANDBOXES, "5");
    _cleanup_policy_rights_ struct policy_rights rights = combine(1, true);
    assert_int_equal(rights.ceilings[POLICY_SANDBOXES].value, 20);
    assert_int_equal(rights.of_this_template.value, 5);
    policy_rights_clear(&rights);
    rights = combine(1, false);
    assert_true(rights.of_this_template.value == POLICY_NO_CEILING);
    assert_null(rights.of_this_template.from);
}

static void test_a_group_only_adds(void **state)
{
    static const struct {
        const char *all;
        const char *group;
        bool adds;
    } cases[] = {
        {"1G", "2G", true},       {"1G", "1G", true},  {"1G", "infinity", true},
        {"2G", "1G", false},      {NULL, "1G", false}, {"infinity", "1G", false},
        {NULL, "infinity", true},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        struct error err = {0};
        reset(NULL);
        if (cases[i].all)
            say(ALL, POLICY_MEMORY, cases[i].all);
        say(GROUP, POLICY_MEMORY, cases[i].group);
        assert_int_equal(policy_set_defaults(&said[ALL], &err), 0);
        int r = policy_check_adds(&said[GROUP], &said[ALL], &err);
        assert_int_equal(r, cases[i].adds ? 0 : -EINVAL);
        if (!cases[i].adds)
            assert_non_null(text_after(err.text, "group:1: Memory="));
    }
}

static void test_bad_values(void **state)
{
    static const struct {
        enum policy_key key;
        const char *text;
    } bad[] = {
        {POLICY_ENGINES, "chroot"},
        {POLICY_ENGINES, "native nativ"},
        {POLICY_ENGINES, "oci:x"},
        {POLICY_NETWORKS, "nat,host-loopback"},
        {POLICY_NETWORKS, "bridge="},
        {POLICY_NETWORKS, "bridge=a,address=10.0.0.1/8"},
        {POLICY_NETWORKS, "infinity"},
        {POLICY_DEVICES, "/etc/passwd"},
        {POLICY_DEVICES, "/devices"},
        {POLICY_CAPABILITIES, "NET_ADMINS"},
        {POLICY_CAPABILITIES, "DEFAULT"},
        {POLICY_MEMORY, ""},
        {POLICY_MEMORY, "1"},
        {POLICY_MEMORY, "-1"},
        {POLICY_MEMORY, "Infinity"},
        {POLICY_SWAP, "x"},
        {POLICY_CPUS, "0"},
        {POLICY_CPUS, "1.0001"},
        {POLICY_PIDS, "1"},
        {POLICY_PIDS, "99999999999"},
        {POLICY_DISK, "1K"},
        {POLICY_TIME, "0"},
        {POLICY_TIME, "1x"},
        {POLICY_SANDBOXES, "0"},
        {POLICY_SANDBOXES, "1.5"},
    };
    for (size_t i = 0; i < ELEMENTS(bad); i++) {
        struct error err = {0};
        char expected[32];
        (void)snprintf(expected, sizeof(expected), "%s=", policy_keys[bad[i].key].name);
        if (policy_set(&said[ALL], bad[i].key, bad[i].text, "x:1", &err) != -EINVAL)
            fail_msg("%s%s passes", expected, bad[i].text);
        assert_non_null(text_after(err.text, expected));
    }
}

static void test_printed_as_written(void **state)
{
    static const struct {
        enum policy_key key;
        const char *text;
    } cases[] = {
        {POLICY_MEMORY, "1536M"},  {POLICY_MEMORY, "5000001"}, {POLICY_SWAP, "0"},
        {POLICY_CPUS, "1.500"},    {POLICY_CPUS, "0.050"},     {POLICY_PIDS, "100"},
        {POLICY_DISK, "2T"},       {POLICY_TIME, "90s"},       {POLICY_TIME, "1500ms"},
        {POLICY_TIME, "infinity"}, {POLICY_SANDBOXES, "7"},
    };
    for (size_t i = 0; i < ELEMENTS(cases); i++) {
        char text[32];
        say(ALL, cases[i].key, cases[i].text);
        policy_print_ceiling(cases[i].key, said[ALL].values[cases[i].key].ceiling, text,
                             sizeof(text));
        assert_string_equal(text, cases[i].text);
    }
}

static void test_refusals_say_who_would_have_to_say_what(void **state)
{
    struct error err = {0};
    say(ALL, POLICY_NETWORKS, "nat");
    say(TEMPLATE, POLICY_NETWORKS, "none");
    _cleanup_policy_rights_ struct policy_rights rights = combine(0, true);
    assert_int_equal(policy_refuse(&rights, POLICY_NETWORKS, "nat", "--network nat", &err),
                     -EPERM);
    assert_non_null(strstr(err.text, "template:1"));
    assert_int_equal(policy_refuse(&rights, POLICY_NETWORKS, "host", "--network host", &err),
                     -EPERM);
    assert_non_null(strstr(err.text, "root only"));
    assert_non_null(strstr(err.text, "Networks="));
    assert_int_equal(err.code, ERROR_DENIED);
}

static void test_equal_whatever_the_order(void **state)
{
    const struct policy_value *a = &said[ALL].values[POLICY_NETWORKS];
    const struct policy_value *b = &said[GROUP].values[POLICY_NETWORKS];
    say(ALL, POLICY_NETWORKS, "nat host");
    assert_false(policy_value_equal(a, b));
    say(GROUP, POLICY_NETWORKS, "host nat host");
    assert_true(policy_value_equal(a, b));
    say(GROUP, POLICY_NETWORKS, "bridge=a");
    assert_false(policy_value_equal(a, b));
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_teardown(test_lists, reset),
        cmocka_unit_test_teardown(test_list_goes_on_and_begins_anew, reset),
        cmocka_unit_test_teardown(test_engines, reset),
        cmocka_unit_test_teardown(test_capabilities, reset),
        cmocka_unit_test_teardown(test_swap_is_memory, reset),
        cmocka_unit_test_teardown(test_ceilings, reset),
        cmocka_unit_test_teardown(test_sandboxes_of_a_template_are_counted_apart, reset),
        cmocka_unit_test_teardown(test_a_group_only_adds, reset),
        cmocka_unit_test_teardown(test_bad_values, reset),
        cmocka_unit_test_teardown(test_printed_as_written, reset),
        cmocka_unit_test_teardown(test_refusals_say_who_would_have_to_say_what, reset),
        cmocka_unit_test_teardown(test_equal_whatever_the_order, reset),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
