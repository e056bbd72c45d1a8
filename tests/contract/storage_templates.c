/* SPDX-License-Identifier: Apache-2.0 */
/* Templates: generations come and go below clones that run. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>

static size_t count_layers(void)
{
    size_t n = 0;
    int fd = dir_open_at(fixture.storage.dir_fd, "layers");
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    return n;
}

static void collect(void)
{
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

static void destroy(unsigned n)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    assert_ok(fixture.storage.driver->destroy(&fixture.storage, name, &err));
}

static void generations_of(const char *name, struct generation_list *ret)
{
    generation_list_clear(ret);
    assert_ok(fixture.storage.driver->generations(&fixture.storage, name, ret, &err));
}

void template_updated_below_clones(void **state)
{
    struct storage *storage = &fixture.storage;
    char second[GENERATION_SIZE];
    _cleanup_generations_ struct generation_list list = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    int mount = clone_mount(0);
    assert_ok(template_make(TEMPLATE, second, &err));
    generations_of(TEMPLATE, &list);
    assert_int_equal(list.n, 2);
    assert_false(list.items[0].current);
    assert_true(list.items[1].current);
    assert_string_equal(list.items[1].id, second);
    assert_ok(storage->driver->remove_generation(storage, TEMPLATE, list.items[0].id, &err));
    collect();
    assert_int_equal(faccessat(mount, "usr/lib/x/deep/three", F_OK, 0), 0);
    fd_close(mount);
    assert_int_equal(clone_shell(0, "test -e usr/lib/x/deep/three; echo x >> etc/passwd"), 0);
    destroy(0);
    collect();
    if (streq(storage->driver->name, "overlay"))
        assert_int_equal(count_layers(), 1);
}

void template_removed_below_clones(void **state)
{
    struct storage *storage = &fixture.storage;
    struct error refusal = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(storage->driver->remove_template(storage, TEMPLATE, &err));
    collect();
    assert_int_equal(clone_shell(0, "test -e usr/lib/x/deep/three; echo x >> etc/passwd"), 0);
    assert_true(clone_make(TEMPLATE, NULL, 1, NULL, &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_NOT_FOUND);
    destroy(0);
    collect();
    assert_int_equal(count_layers(), 0);
}

/* Somebody changes templates, and may take long: the one who ends sandboxes does not wait. */
void template_removed_in_a_hurry(void **state)
{
    struct storage *storage = &fixture.storage;
    const struct storage_driver *driver = storage->driver;
    struct error refusal = {0};
    char second[GENERATION_SIZE];
    _cleanup_generations_ struct generation_list list = {0};
    generations_of(TEMPLATE, &list);
    assert_ok(template_make(TEMPLATE, second, &err));
    int lock = openat(storage->dir_fd, "change.lock", O_RDWR | O_CLOEXEC);
    assert_true(lock >= 0 && flock(lock, LOCK_EX) == 0);
    storage->is_hurried = true;
    int r = driver->remove_generation(storage, TEMPLATE, list.items[0].id, &refusal);
    fd_close(lock);
    storage->is_hurried = false;
    assert_int_equal(r, -EAGAIN);
    assert_ok(driver->remove_generation(storage, TEMPLATE, list.items[0].id, &err));
}

void template_rollback_and_snapshot(void **state)
{
    struct storage *storage = &fixture.storage;
    const struct storage_driver *driver = storage->driver;
    struct error refusal = {0};
    char second[GENERATION_SIZE];
    char pinned[GENERATION_SIZE];
    _cleanup_generations_ struct generation_list list = {0};
    assert_ok(template_make(TEMPLATE, second, &err));
    generations_of(TEMPLATE, &list);
    assert_int_equal(driver->remove_generation(storage, TEMPLATE, second, &refusal), -EBUSY);
    assert_int_equal(refusal.code, ERROR_BUSY);
    assert_ok(driver->rollback(storage, TEMPLATE, list.items[0].id, &err));
    generations_of(TEMPLATE, &list);
    assert_true(list.items[0].current);
    assert_ok(driver->remove_generation(storage, TEMPLATE, second, &err));
    assert_true(driver->rollback(storage, TEMPLATE, second, &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_NOT_FOUND);
    assert_ok(driver->snapshot(storage, TEMPLATE, pinned, &err));
    generations_of(TEMPLATE, &list);
    assert_int_equal(list.n, 2);
    assert_false(list.items[0].pinned);
    assert_string_equal(list.items[1].id, pinned);
    assert_true(list.items[1].pinned && list.items[1].current);
    _cleanup_buffer_ struct buffer a = {0};
    _cleanup_buffer_ struct buffer b = {0};
    template_list_tree(TEMPLATE, list.items[0].id, &a);
    template_list_tree(TEMPLATE, pinned, &b);
    assert_string_equal(a.data, b.data);
}

void template_published_by_two(void **state)
{
    enum { ROUNDS = 5, BOTH = 2 };
    char generation[GENERATION_SIZE];
    pid_t pids[BOTH];
    for (size_t i = 0; i < BOTH; i++) {
        pids[i] = fork();
        assert_true(pids[i] >= 0);
        if (pids[i] == 0) {
            for (int round = 0; round < ROUNDS; round++)
                if (template_make("shared", generation, NULL) < 0)
                    _exit(1);
            _exit(0);
        }
    }
    for (size_t i = 0; i < BOTH; i++) {
        int status = 0;
        assert_int_equal(waitpid(pids[i], &status, 0), pids[i]);
        assert_true(WIFEXITED(status) && WEXITSTATUS(status) == 0);
    }
    _cleanup_generations_ struct generation_list list = {0};
    generations_of("shared", &list);
    assert_int_equal(list.n, BOTH * ROUNDS);
    size_t current = 0;
    for (size_t i = 0; i < list.n; i++) {
        _cleanup_buffer_ struct buffer tree = {0};
        template_list_tree("shared", list.items[i].id, &tree);
        current += list.items[i].current;
    }
    assert_int_equal(current, 1);
}
