/* SPDX-License-Identifier: Apache-2.0 */
/* Killed at every step: after each system call of an operation in turn the process dies; what
 * is found then is what was before, or what should have come, and nothing besides. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

unsigned crash_every(void)
{
    const char *text = getenv("ISOLATE_CONTRACT_EVERY");
    long n = text ? strtol(text, NULL, 10) : 1;
    return n > 0 ? (unsigned)n : 1;
}

static void collect(void)
{
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

/* All can be mounted, and the newest is the current one. */
static size_t count_generations(const char *name)
{
    _cleanup_generations_ struct generation_list list = {0};
    if (fixture.storage.driver->generations(&fixture.storage, name, &list, NULL) < 0)
        return 0;
    for (size_t i = 0; i < list.n; i++) {
        _cleanup_buffer_ struct buffer tree = {0};
        template_list_tree(name, list.items[i].id, &tree);
        assert_int_equal(list.items[i].current, i + 1 == list.n);
    }
    return list.n;
}

static void renew_template(void)
{
    char generation[GENERATION_SIZE];
    destroy_everything();
    if (has(STORAGE_TEMPLATES))
        assert_ok(template_make(TEMPLATE, generation, &err));
}

static int step_clone(void *data)
{
    return clone_make(TEMPLATE, NULL, 0, NULL, NULL);
}

static int step_destroy(void *data)
{
    char name[CLONE_NAME_SIZE];
    clone_name(0, name);
    return fixture.storage.driver->destroy(&fixture.storage, name, NULL);
}

void crash_clone(void **state)
{
    bool complete = false;
    for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
        complete = killed_at(n, step_clone, NULL);
        collect();
        _cleanup_clones_ struct clone_list clones = {0};
        assert_ok(fixture.storage.driver->clones(&fixture.storage, &clones, &err));
        assert_true(clones.n <= 1);
        assert_int_equal(step_destroy(NULL), 0);
        /* the name is free again */
        assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
        assert_int_equal(step_destroy(NULL), 0);
    }
    assert_true(complete);
}

void crash_destroy(void **state)
{
    bool complete = false;
    for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
        assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
        if (has(STORAGE_DISPOSABLE))
            assert_int_equal(clone_shell(0, "mkdir -p a/b/c; echo x > a/b/c/d; rm etc/passwd"),
                             0);
        complete = killed_at(n, step_destroy, NULL);
        collect();
        _cleanup_clones_ struct clone_list clones = {0};
        assert_ok(fixture.storage.driver->clones(&fixture.storage, &clones, &err));
        assert_true(clones.n <= 1 && (!complete || clones.n == 0));
        assert_int_equal(step_destroy(NULL), 0);
    }
    assert_true(complete);
}

static int step_publish(void *data)
{
    char key[64];
    char generation[GENERATION_SIZE];
    _cleanup_close_ int tree = -EBADF;
    struct template_info info = {.source = "test"};
    struct storage *storage = &fixture.storage;
    (void)snprintf(info.name, sizeof(info.name), "%s", (const char *)data);
    int r = storage->driver->import(storage, key, sizeof(key), &tree, NULL);
    if (r == 0 && mkdirat(tree, "etc", 0755) < 0)
        r = -errno;
    return r < 0 ? r : storage->driver->publish(storage, key, &info, generation, NULL);
}

static void crash_publish_of(const char *name, size_t before)
{
    bool complete = false;
    for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
        complete = killed_at(n, step_publish, (void *)(uintptr_t)name);
        collect();
        size_t after = count_generations(name);
        assert_true(after == before + 1 || (after == before && !complete));
        if (after == before)
            continue;
        if (!complete)
            renew_template();
    }
    assert_true(complete);
}

void crash_publish(void **state)
{
    crash_publish_of("new", 0);
    renew_template();
    crash_publish_of(TEMPLATE, 1);
}

static int step_commit(void *data)
{
    char name[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE];
    static const struct provided_file file = {"/etc/hosts", "provided\n"};
    const struct provided_list provided = {&file, 1};
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", (const char *)data);
    clone_name(0, name);
    return fixture.storage.driver->commit(&fixture.storage, name, &provided, &info, generation,
                                          NULL);
}

static void check_after_commit(const char *name, const char *tree, bool complete)
{
    static const struct provided_file file = {"/etc/hosts", "provided\n"};
    const struct provided_list provided = {&file, 1};
    _cleanup_buffer_ struct buffer now = {0};
    _cleanup_buffer_ struct buffer diff = {0};
    size_t before = streq(name, TEMPLATE) ? 1 : 0;
    collect();
    size_t after = count_generations(name);
    clone_list_diff(0, &provided, &diff);
    if (after ==
        before + 1) /* whether the clone keeps what isolate wrote is the driver's choice */
        assert_int_equal(clone_shell(0, "rm -f etc/hosts"), 0);
    clone_list_tree(0, &now);
    if (after == before) {
        assert_false(complete);
        assert_string_equal(
            diff.data, "D /etc/passwd\nA /new\nA /opt\nA /opt/lib\nA /opt/lib/x-ray\nD /usr\n");
        return;
    }
    assert_int_equal(after, before + 1);
    assert_string_equal(diff.data, "");
    assert_string_equal(now.data, tree);
    _cleanup_buffer_ struct buffer committed = {0};
    template_list_tree(name, NULL, &committed);
    assert_string_equal(committed.data, tree);
}

static void prepare_clone(struct buffer *ret_tree)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "rm etc/passwd; echo x > new; touch -d @1600000000 new; "
                                    "mv usr opt; rm -r opt/lib/x opt/bin"),
                     0);
    buffer_clear(ret_tree);
    clone_list_tree(0, ret_tree);
    assert_int_equal(clone_shell(0, "echo provided > etc/hosts"), 0);
}

void crash_commit(void **state)
{
    static const char *const names[] = {TEMPLATE, "new"};
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        bool complete = false;
        for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
            _cleanup_buffer_ struct buffer tree = {0};
            renew_template();
            prepare_clone(&tree);
            complete = killed_at(n, step_commit, (void *)(uintptr_t)names[i]);
            check_after_commit(names[i], tree.data, complete);
        }
        assert_true(complete);
    }
}
