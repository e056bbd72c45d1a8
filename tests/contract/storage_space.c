/* SPDX-License-Identifier: Apache-2.0 */
/* Out of space: with every amount of free space from none up to enough, an operation either
 * succeeds or says so and leaves nothing. */
#include "storage_fixture.h"

#include "base/text.h"
#include "storage/zfs.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

#define FREE_MAX       (1 << 20)
#define FREE_OF_IMAGES (64 << 20)
#define FILLERS_MAX    3000

/* A file that takes all space of the file system but `spare` bytes. */
static void fill(uint64_t spare)
{
    _cleanup_close_ int fd =
        openat(fixture.state_fd, "ballast", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    off_t size = 0;
    (void)syncfs(fd); /* what was removed before is free only now */
    for (off_t piece = 1 << 28; piece >= 1024; piece /= 2)
        while (fallocate(fd, 0, size, piece) == 0)
            size += piece;
    /* the last blocks are kept for metadata: directories take them */
    char name[32];
    for (unsigned i = 0; i < FILLERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "filler-%u", i);
        if (mkdirat(fixture.state_fd, name, 0700) < 0)
            break;
    }
    assert_int_equal(ftruncate(fd, size - (off_t)spare), 0);
    (void)syncfs(fd); /* ext4 and XFS give truncated blocks back when the journal is written */
}

static void drain(void)
{
    char name[32];
    assert_int_equal(unlinkat(fixture.state_fd, "ballast", 0), 0);
    for (unsigned i = 0; i < FILLERS_MAX; i++) {
        (void)snprintf(name, sizeof(name), "filler-%u", i);
        (void)unlinkat(fixture.state_fd, name, AT_REMOVEDIR);
    }
    _cleanup_close_ int fd = dir_open_at(fixture.state_fd, ".");
    (void)syncfs(fd);
}

/* Repeats step with more and more space until it succeeds; `check` looks after each failure. */
static void until_it_fits(int (*step)(struct error *err), void (*check)(void))
{
    unsigned failures = 0;
    const uint64_t most = fixture.is_limited ? FREE_OF_IMAGES : FREE_MAX;
    for (uint64_t spare = 0; spare <= most; spare += fixture.is_limited ? 1 << 20 : 4096) {
        struct error err = {0};
        fill(spare);
        int r = step(&err);
        drain();
        if (r == 0) {
            /* XFS keeps blocks in reserve and space for inodes by the chunk */
            if (!streq(fixture.file_system, "xfs"))
                assert_true(failures > 0);
            return;
        }
        if (err.code != ERROR_NO_SPACE)
            fail_msg("not for lack of space: %s", err.text);
        failures++;
        check();
    }
    fail_msg("does not fit into %llu bytes", (unsigned long long)most);
}

static int step_clone(struct error *err)
{
    return clone_make(TEMPLATE, NULL, 0, NULL, err);
}

static void check_clone(void)
{
    _cleanup_clones_ struct clone_list clones = {0};
    assert_ok(fixture.storage.driver->clones(&fixture.storage, &clones, &err));
    assert_int_equal(clones.n, 0);
}

void space_clone(void **state)
{
    until_it_fits(step_clone, check_clone);
}

static char import_key[64];
static int import_tree = -EBADF;

static int step_publish(struct error *err)
{
    char generation[GENERATION_SIZE];
    struct template_info info = {.name = "new", .source = "test"};
    return fixture.storage.driver->publish(&fixture.storage, import_key, &info, generation,
                                           err);
}

static void check_publish(void)
{
    _cleanup_templates_ struct template_list templates = {0};
    assert_ok(fixture.storage.driver->templates(&fixture.storage, &templates, &err));
    assert_int_equal(templates.n, 1);
    assert_int_equal(faccessat(fixture.storage.dir_fd, "templates/new", F_OK, 0), -1);
}

void space_publish(void **state)
{
    struct storage *storage = &fixture.storage;
    assert_ok(
        storage->driver->import(storage, import_key, sizeof(import_key), &import_tree, &err));
    populate(import_tree);
    until_it_fits(step_publish, check_publish);
    import_tree = fd_close(import_tree);
    _cleanup_buffer_ struct buffer tree = {0};
    template_list_tree("new", NULL, &tree);
}

static int step_commit(struct error *err)
{
    char name[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE];
    struct template_info info = {.name = TEMPLATE, .source = "test"};
    clone_name(0, name);
    return fixture.storage.driver->commit(&fixture.storage, name, NULL, &info, generation, err);
}

static void check_commit(void)
{
    _cleanup_generations_ struct generation_list list = {0};
    _cleanup_buffer_ struct buffer diff = {0};
    assert_ok(fixture.storage.driver->generations(&fixture.storage, TEMPLATE, &list, &err));
    assert_int_equal(list.n, 1);
    clone_list_diff(0, NULL, &diff);
    assert_string_equal(diff.data, "A /new\nD /usr\n");
}

void space_commit(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "echo x > new; rm -r usr"), 0);
    until_it_fits(step_commit, check_commit);
    _cleanup_buffer_ struct buffer diff = {0};
    clone_list_diff(0, NULL, &diff);
    assert_string_equal(diff.data, "");
}

static void limit_parent(const char *quota)
{
    struct error err = {0};
    if (ZFS(&err, "set", quota, "contract") < 0)
        fail_msg("%s: %s", quota, err.text);
}

/* Full is the file system that the datasets' mountpoints are directories of. */
void space_mountpoint(void **state)
{
    static const char block[65536];
    char path[128];
    struct error err = {0};
    (void)snprintf(path, sizeof(path), "%s/pool/ballast", fixture.mount);
    _cleanup_close_ int fd = open(path, O_WRONLY | O_CREAT | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    limit_parent("refquota=1M");
    for (unsigned i = 0; i < 100 && write(fd, block, sizeof(block)) > 0; i++)
        (void)fsync(fd);
    (void)syncfs(fd);
    int r = step_clone(&err);
    assert_int_equal(unlink(path), 0);
    fd = fd_close(fd);
    limit_parent("refquota=none");
    assert_true(r < 0);
    if (err.code != ERROR_NO_SPACE)
        fail_msg("not for lack of space: %s", err.text);
    check_clone();
}

/* Wide, and deeper than anything goes down at once. */
#define BUSH                                                                                   \
    "i=0; while [ $i -lt 60 ]; do mkdir $i; cd $i; j=0; while [ $j -lt 80 ]; do "              \
    "mkdir d; cd d; j=$((j+1)); done; : > leaf; k=0; while [ $k -lt 81 ]; do cd ..; "          \
    "k=$((k+1)); done; i=$((i+1)); done"

/* What takes space away must be possible to get rid of when there is none. */
void space_destroy(void **state)
{
    char name[CLONE_NAME_SIZE];
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    assert_int_equal(clone_shell(0, BUSH), 0);
    fill(0);
    struct error err = {0};
    int r = fixture.storage.driver->destroy(&fixture.storage, name, &err);
    drain();
    if (r < 0)
        fail_msg("destroy: %s", err.text);
}
