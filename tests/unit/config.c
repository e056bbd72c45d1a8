/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration's files: what they say of policy, and what a broken one does. In a
 * directory of its own; without privileges. */
#include "spec/config.h"

#include "base/text.h"

#include <ftw.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/stat.h>

#include <cmocka.h>

static char directory[] = "/tmp/isolate-config-XXXXXX";

static int remove_one(const char *path, const struct stat *st, int type, struct FTW *at)
{
    return remove(path);
}

static int begin(void **state)
{
    static const char template[] = "/tmp/isolate-config-XXXXXX";
    char path[128];
    memcpy(directory, template, sizeof(template));
    if (!mkdtemp(directory))
        return -1;
    (void)snprintf(path, sizeof(path), "%s/groups.d", directory);
    if (mkdir(path, 0700) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s/templates.d", directory);
    return mkdir(path, 0700);
}

static int end(void **state)
{
    return nftw(directory, remove_one, 8, FTW_DEPTH | FTW_PHYS);
}

static void put(const char *name, const char *text)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    FILE *file = fopen(path, "we");
    assert_non_null(file);
    assert_true(fputs(text, file) >= 0);
    assert_int_equal(fclose(file), 0);
}

static int load(struct config *ret, struct error *err)
{
    char path[256];
    (void)snprintf(path, sizeof(path), "%s/isolated.conf", directory);
    return config_load(path, ret, err);
}

static void assert_mentions(const char *text, const char *word)
{
    if (!strstr(text, word))
        fail_msg("\"%s\" does not say \"%s\"", text, word);
}

static void test_origins(void **state)
{
    struct error err = {0};
    _cleanup_config_ struct config config = {0};
    put("isolated.conf", "# comment\n[Policy]\nNetworks=nat\nNetworks=host\nMemory=1G\n");
    assert_int_equal(load(&config, &err), 0);
    const struct policy_value *networks = &config.policy.values[POLICY_NETWORKS];
    assert_string_equal(networks->words[0].text, "nat");
    assert_mentions(networks->words[0].from, "/isolated.conf:3");
    assert_mentions(networks->words[1].from, "/isolated.conf:4");
    assert_mentions(config.policy.values[POLICY_MEMORY].from, "/isolated.conf:5");
    assert_string_equal(config.policy.values[POLICY_ENGINES].from, "default");
    assert_int_equal(config.policy.values[POLICY_SANDBOXES].ceiling, 256);
}

static void test_older_keys(void **state)
{
    struct error err = {0};
    _cleanup_config_ struct config config = {0};
    put("isolated.conf", "[Network]\nMembers=host\nMembers=none nat\n[Daemon]\n"
                         "SandboxesPerUser=3\n[Devices]\nMembers=/dev/null\n"
                         "[Policy]\nNetworks=nat none\n");
    assert_int_equal(load(&config, &err), 0);
    assert_int_equal(config.policy.values[POLICY_NETWORKS].n_words, 2);
    assert_mentions(config.policy.values[POLICY_SANDBOXES].from, "isolated.conf:5");
    assert_string_equal(config.policy.values[POLICY_DEVICES].words[0].text, "/dev/null");
}

static void test_older_key_that_says_something_else(void **state)
{
    static const char *const texts[] = {
        "[Network]\nMembers=nat\n[Policy]\nNetworks=host\n",
        "[Policy]\nSandboxes=4\n[Daemon]\nSandboxesPerUser=3\n",
        "[Policy]\nDevices=\n[Devices]\nMembers=/dev/null\n",
    };
    for (size_t i = 0; i < ELEMENTS(texts); i++) {
        struct error err = {0};
        struct config config = {0};
        put("isolated.conf", texts[i]);
        assert_int_equal(load(&config, &err), -EINVAL);
        assert_mentions(err.text, "isolated.conf:2");
        assert_mentions(err.text, "isolated.conf:4");
    }
}

/* A broken file of all members' is an error, a group's gives nothing, a template's closes it.
 */
static void test_broken_files(void **state)
{
    static const char *const broken[] = {
        "[Policy]\nNetworks=host\nNetwork=host\n",
        "[Policy]\nNetworks=host\nMemory=much\n",
        "[Policy]\nNetworks=host\nEngines=chroot\n",
        "[Policy]\nNetworks=host\n[Network]\nMembers=host\n",
        "[Policy]\nNetworks=host\nnonsense\n",
        "[Policy]\nNetworks=host\n[Policies]\nNetworks=host\n",
    };
    for (size_t i = 0; i < ELEMENTS(broken); i++) {
        struct error err = {0};
        _cleanup_config_ struct config config = {0};
        put("isolated.conf", "");
        put("groups.d/0.conf", broken[i]);
        put("groups.d/7.conf", "[Policy]\nNetworks=nat\n");
        put("templates.d/t.conf", broken[i]);
        assert_int_equal(load(&config, &err), 0);
        assert_int_equal(config.n_groups, 2);
        assert_mentions(config.groups[0].problem, "groups.d/0.conf:");
        assert_int_equal(config.groups[0].policy.values[POLICY_NETWORKS].n_words, 0);
        assert_string_equal(config.groups[1].problem, "");
        assert_mentions(config_template(&config, "t")->problem, "templates.d/t.conf:");
    }
    struct error err = {0};
    struct config config = {0};
    put("isolated.conf", broken[0]);
    assert_int_equal(load(&config, &err), -EINVAL);
    assert_mentions(err.text, "isolated.conf:3");
}

/* It is not taken for one without files: their restrictions would be gone. */
static void test_directories_that_cannot_be_listed(void **state)
{
    static const char *const names[] = {"groups.d", "templates.d"};
    put("isolated.conf", "");
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        char path[256];
        struct error err = {0};
        struct config config = {0};
        (void)snprintf(path, sizeof(path), "%s/%s", directory, names[i]);
        assert_int_equal(rmdir(path), 0);
        assert_int_equal(symlink(names[i], path), 0); /* ELOOP */
        assert_true(load(&config, &err) < 0);
        assert_mentions(err.text, names[i]);
        assert_int_equal(unlink(path), 0);
        assert_int_equal(load(&config, &err), 0); /* not there at all is none */
        config_clear(&config);
        assert_int_equal(mkdir(path, 0700), 0);
    }
}

static void test_groups(void **state)
{
    struct error err = {0};
    _cleanup_config_ struct config config = {0};
    put("isolated.conf", "[Policy]\nMemory=1G\n");
    put("groups.d/61999.conf", "[Policy]\nMemory=2G\n");
    put("groups.d/less.conf", "[Policy]\nMemory=512M\n");
    put("groups.d/root.conf", "[Policy]\nMemory=512M\nNetworks=host\n");
    assert_int_equal(load(&config, &err), 0);
    assert_int_equal(config.groups[0].gid, 61999);
    assert_true(config.groups[0].known);
    assert_mentions(config.groups[1].problem, "no group \"less\"");
    assert_false(config.groups[1].known);
    assert_mentions(config.groups[2].problem, "root.conf:2: Memory= is less than");
    assert_false(config.groups[2].policy.values[POLICY_NETWORKS].said);
}

static void test_who_may_use_a_template(void **state)
{
    struct error err = {0};
    _cleanup_config_ struct config config = {0};
    put("isolated.conf", "");
    put("templates.d/a.conf", "[Policy]\nUsers=root 61401 no-such-user\nGroups=root\n");
    put("templates.d/b.conf", "[Policy]\nUsers=no-such-user\n");
    put("templates.d/c.conf", "[Policy]\nUsers=root\nUsers=\n");
    put("templates.d/d.conf", "[Policy]\nUsers=root,61401\n");
    assert_int_equal(load(&config, &err), 0);
    const struct template_config *a = config_template(&config, "a");
    assert_int_equal(a->users.n, 2);
    assert_int_equal(a->users.ids[1], 61401);
    assert_mentions(a->users.from, "a.conf:2");
    assert_int_equal(a->groups.n, 1);
    /* nobody, which is not everybody */
    assert_true(config_template(&config, "b")->users.said);
    assert_int_equal(config_template(&config, "b")->users.n, 0);
    assert_false(config_template(&config, "c")->users.said);
    assert_mentions(config_template(&config, "d")->problem, "root,61401");
    put("isolated.conf", "[Policy]\nUsers=root\n");
    struct config other = {0};
    assert_int_equal(load(&other, &err), -EINVAL);
    assert_mentions(err.text, "templates.d");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_origins, begin, end),
        cmocka_unit_test_setup_teardown(test_older_keys, begin, end),
        cmocka_unit_test_setup_teardown(test_older_key_that_says_something_else, begin, end),
        cmocka_unit_test_setup_teardown(test_broken_files, begin, end),
        cmocka_unit_test_setup_teardown(test_directories_that_cannot_be_listed, begin, end),
        cmocka_unit_test_setup_teardown(test_groups, begin, end),
        cmocka_unit_test_setup_teardown(test_who_may_use_a_template, begin, end),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
