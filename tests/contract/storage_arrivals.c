/* SPDX-License-Identifier: Apache-2.0 */
/* Generations that were made elsewhere: they come in under their own names, exactly as they
 * were, or not at all. */
#include "storage_fixture.h"

#include "base/text.h"
#include "storage/arrival.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

#define EARLIER "20010203T040506Z"
#define LATER   "20400102T030405Z-7"
#define CREATED 981173106

static const struct storage_arrivals *arrivals(void)
{
    return fixture.storage.driver->arrivals;
}

static void current_of(const char *name, struct generation *ret)
{
    _cleanup_generations_ struct generation_list list = {0};
    size_t found = 0;
    assert_ok(fixture.storage.driver->generations(&fixture.storage, name, &list, &err));
    for (size_t i = 0; i < list.n; i++)
        if (list.items[i].current) {
            *ret = list.items[i];
            found++;
        }
    assert_int_equal(found, 1);
}

static size_t count_generations(const char *name)
{
    _cleanup_generations_ struct generation_list list = {0};
    if (fixture.storage.driver->generations(&fixture.storage, name, &list, NULL) < 0)
        return 0;
    return list.n;
}

static struct generation_arrival arrival_of(const char *id, const char *base)
{
    struct generation_arrival arrival = {.pinned = true, .created = CREATED};
    (void)snprintf(arrival.id, sizeof(arrival.id), "%s", id);
    (void)snprintf(arrival.base, sizeof(arrival.base), "%s", base);
    (void)snprintf(arrival.identity, sizeof(arrival.identity), "identity-of-%.20s",
                   id[3] == '4' ? "the-later" : "the-earlier");
    return arrival;
}

static void gone(const struct storage_import *import, const char *path)
{
    assert_int_equal(import->is_layer ? mknodat(import->tree_fd, path, S_IFCHR, makedev(0, 0))
                                      : unlinkat(import->tree_fd, path, 0),
                     0);
}

/* What a stream's reader would do with the base: something gone, something new, something
 * changed, and what only a hash of the tree tells: times of directories and links, and which
 * files are one. */
static void change(const struct storage_import *import)
{
    const struct timespec times[2] = {{1500000000, 0}, {1500000000, 0}};
    int tree = import->tree_fd;
    if (import->is_layer) {
        assert_int_equal(mkdirat(tree, "etc", 0755), 0);
        assert_int_equal(mkdirat(tree, "var", 0755), 0);
        assert_int_equal(symlinkat("/etc/passwd", tree, "etc/absolute"), 0);
    }
    gone(import, "etc/resolv.conf");
    if (!import->is_layer)
        gone(import, "etc/shadow");
    _cleanup_close_ int fd = openat(tree, "etc/shadow", O_WRONLY | O_CREAT | O_EXCL, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, "root:!\n", 7), 0);
    assert_int_equal(linkat(tree, "etc/shadow", tree, "etc/shadow-", 0), 0);
    assert_int_equal(utimensat(tree, "etc/shadow", times, 0), 0);
    assert_int_equal(utimensat(tree, "etc/absolute", times, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(utimensat(tree, "etc", times, 0), 0);
    assert_int_equal(utimensat(tree, "var", times, 0), 0);
    assert_int_equal(utimensat(tree, ".", times, 0), 0);
}

static void check_marks(int mount)
{
    static const char *const paths[] = {".", "etc", "var", "etc/absolute", "etc/shadow"};
    struct stat st;
    for (size_t i = 0; i < ELEMENTS(paths); i++) {
        assert_int_equal(fstatat(mount, paths[i], &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_mtim.tv_sec, 1500000000);
    }
    assert_int_equal(st.st_nlink, 2);
}

static void check_generation(const char *name, const struct generation_arrival *arrival,
                             const char *tree)
{
    struct generation now;
    int mount = -EBADF;
    _cleanup_buffer_ struct buffer text = {0};
    current_of(name, &now);
    assert_string_equal(now.id, arrival->id);
    assert_string_equal(now.identity, arrival->identity);
    assert_true(now.pinned);
    assert_int_equal(now.created, arrival->created);
    template_list_tree(name, arrival->id, &text);
    assert_string_equal(text.data, tree);
    assert_ok(fixture.storage.driver->mount_generation(&fixture.storage, name, arrival->id,
                                                       &mount, &err));
    if (*arrival->base)
        check_marks(mount);
    fd_close(mount);
}

/* Begins, fills and shows one; *ret_tree is what it is then. */
static void receive(const char *name, const struct generation_arrival *arrival,
                    struct storage_import *ret, struct buffer *ret_tree)
{
    int mount = -EBADF;
    *ret = (struct storage_import){.tree_fd = -EBADF};
    assert_ok(arrivals()->begin(&fixture.storage, name, arrival->base, ret, &err));
    if (*arrival->base)
        change(ret);
    else
        populate(ret->tree_fd);
    assert_ok(arrivals()->mount(&fixture.storage, name, arrival->base, ret, &mount, &err));
    tree_list(mount, 0, ret_tree);
    fd_close(mount);
    ret->tree_fd = fd_close(ret->tree_fd);
}

static int publish(const char *name, const struct storage_import *import,
                   const struct generation_arrival *arrival, struct error *err)
{
    struct template_info info = {.source = "elsewhere"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    return arrivals()->publish(&fixture.storage, import, &info, arrival, err);
}

static void abort_it(const struct storage_import *import)
{
    assert_ok(fixture.storage.driver->abort(&fixture.storage, import->key, &err));
}

void arrival_whole(void **state)
{
    struct storage_import import;
    struct template_info info;
    _cleanup_buffer_ struct buffer tree = {0};
    const struct generation_arrival arrival = arrival_of(EARLIER, "");
    receive("new", &arrival, &import, &tree);
    assert_int_equal(fixture.storage.driver->find(&fixture.storage, "new", &info, NULL), 0);
    assert_ok(publish("new", &import, &arrival, &err));
    check_generation("new", &arrival, tree.data);
    assert_int_equal(fixture.storage.driver->find(&fixture.storage, "new", &info, NULL), 1);
    assert_string_equal(info.source, "elsewhere");
}

/* On top of the current generation, whose name may be later than its own; the one before stays
 * what it was, and the next one follows. */
static void follow(const char *id)
{
    char next[GENERATION_SIZE];
    struct generation before;
    struct storage_import import;
    _cleanup_buffer_ struct buffer was = {0};
    _cleanup_buffer_ struct buffer is = {0};
    _cleanup_buffer_ struct buffer tree = {0};
    current_of(TEMPLATE, &before);
    assert_true(*before.identity);
    const struct generation_arrival arrival = arrival_of(id, before.id);
    template_list_tree(TEMPLATE, before.id, &was);
    receive(TEMPLATE, &arrival, &import, &tree);
    assert_string_not_equal(was.data, tree.data);
    assert_int_equal(count_generations(TEMPLATE), 1);
    assert_ok(publish(TEMPLATE, &import, &arrival, &err));
    check_generation(TEMPLATE, &arrival, tree.data);
    template_list_tree(TEMPLATE, before.id, &is);
    assert_string_equal(is.data, was.data);
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "test -e etc/shadow- && ! test -e etc/resolv.conf"), 0);
    /* both ways from here */
    assert_ok(fixture.storage.driver->rollback(&fixture.storage, TEMPLATE, before.id, &err));
    current_of(TEMPLATE, &before);
    assert_string_equal(before.id, arrival.base);
    assert_ok(template_make(TEMPLATE, next, &err));
    current_of(TEMPLATE, &before);
    assert_string_equal(before.id, next);
}

void arrival_follows(void **state)
{
    follow(LATER);
}

void arrival_named_earlier(void **state)
{
    follow(EARLIER);
}

void arrival_refused(void **state)
{
    char next[GENERATION_SIZE];
    struct generation before;
    struct storage_import first;
    struct storage_import second;
    struct storage_import whole;
    struct error refusal = {0};
    _cleanup_buffer_ struct buffer tree = {0};
    current_of(TEMPLATE, &before);
    const struct generation_arrival arrival = arrival_of(LATER, before.id);
    const struct generation_arrival all = arrival_of(EARLIER, "");
    receive(TEMPLATE, &arrival, &first, &tree);
    assert_ok(publish(TEMPLATE, &first, &arrival, &err));
    /* it is there already, and its base is the current one no more */
    receive(TEMPLATE, &arrival, &second, &tree);
    assert_int_equal(publish(TEMPLATE, &second, &arrival, &refusal), -EBUSY);
    assert_non_null(strstr(refusal.text, LATER));
    assert_ok(fixture.storage.driver->rollback(&fixture.storage, TEMPLATE, before.id, &err));
    assert_int_equal(publish(TEMPLATE, &second, &arrival, &refusal), -EEXIST);
    abort_it(&second);
    /* a whole one where there is a template by now */
    receive("new", &all, &whole, &tree);
    assert_ok(template_make("new", next, &err));
    assert_int_equal(publish("new", &whole, &all, &refusal), -EEXIST);
    abort_it(&whole);
    assert_int_equal(count_generations("new"), 1);
    assert_int_equal(count_generations(TEMPLATE), 2);
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

static int step_arrive(void *data)
{
    struct error err = {0};
    const struct generation_arrival *arrival = data;
    struct storage_import import = {.tree_fd = -EBADF};
    const char *name = *arrival->base ? TEMPLATE : "new";
    int r = arrivals()->begin(&fixture.storage, name, arrival->base, &import, &err);
    if (r == 0 && mkdirat(import.tree_fd, "fresh", 0755) < 0)
        r = -errno;
    fd_close(import.tree_fd);
    if (r == 0)
        r = publish(name, &import, arrival, &err);
    if (r < 0)
        (void)fprintf(stderr, "receive: %s\n", err.text);
    return r;
}

static void crash_arrival_of(const char *id, bool follows)
{
    bool complete = false;
    const char *name = follows ? TEMPLATE : "new";
    const size_t before = follows;
    for (unsigned n = 0; !complete && n < CRASH_STEPS_MAX; n += crash_every()) {
        struct generation base = {0};
        if (follows)
            current_of(TEMPLATE, &base);
        const struct generation_arrival arrival = arrival_of(id, base.id);
        complete = killed_at(n, step_arrive, (void *)(uintptr_t)&arrival);
        assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
        size_t after = count_generations(name);
        assert_true(after == before + 1 || (after == before && !complete));
        if (after == 0)
            continue;
        _cleanup_buffer_ struct buffer tree = {0};
        struct generation now;
        current_of(name, &now);
        template_list_tree(name, NULL, &tree);
        assert_int_equal(strstr(tree.data, "/fresh") != NULL, after > before);
        assert_string_equal(now.id, after > before ? id : base.id);
        if (after == before)
            continue;
        char generation[GENERATION_SIZE];
        destroy_everything();
        assert_ok(template_make(TEMPLATE, generation, &err));
    }
    assert_true(complete);
}

void crash_arrival(void **state)
{
    crash_arrival_of(EARLIER, false);
    crash_arrival_of(LATER, true);
    crash_arrival_of(EARLIER, true);
}
