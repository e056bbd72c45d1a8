/* SPDX-License-Identifier: Apache-2.0 */
/* A sandbox may pass fds of its clone to somebody outside, who goes on writing while the clone
 * is removed: that ends all the same, and what is left goes later. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>

/* More than any bound allows: the end of patience. */
#define UNBOUNDED    300000
#define PATIENCE_S   60
#define ACCOMPLICES  3
#define ROUNDS       5
#define NESTED_UNTIL 1500

/* Who is faster than any removal: before each unlinkat(2) of the process there is another name
 * of a file (another file would use up the inodes: overlayfs holds them all until the mount is
 * gone). The linker puts this in the place of the real one. */
static int fast_dir = -EBADF;
static int fast_file = -EBADF;
static unsigned fast_made;

int __real_unlinkat(int dir_fd, const char *path, int flags);
int __wrap_unlinkat(int dir_fd, const char *path, int flags);
int __wrap_unlinkat(int dir_fd, const char *path, int flags)
{
    char name[32];
    if (fast_dir >= 0 && fast_made < UNBOUNDED) {
        (void)snprintf(name, sizeof(name), "new-%u", fast_made++);
        (void)!linkat(fast_file, "", fast_dir, name, AT_EMPTY_PATH);
    }
    return __real_unlinkat(dir_fd, path, flags);
}

static int destroy(unsigned n, struct error *err)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    return fixture.storage.driver->destroy(&fixture.storage, name, err);
}

static size_t count_clones(void)
{
    _cleanup_clones_ struct clone_list list = {0};
    assert_ok(fixture.storage.driver->clones(&fixture.storage, &list, &err));
    return list.n;
}

static size_t count_trash(void)
{
    _cleanup_clones_ struct clone_list list = {0};
    assert_ok(fixture.storage.driver->trash(&fixture.storage, &list, &err));
    return list.n;
}

static void collect(void)
{
    assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
}

/* A subvolume goes as a whole, whoever writes into it, and so does an image. */
static bool goes_at_once(void)
{
    return streq(fixture.storage.driver->name, "btrfs") || fixture.is_limited;
}

void destroy_never_ends(void **state)
{
    struct error refusal = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "mkdir -p a/b; : > a/b/c; mkdir -p a/d/e"), 0);
    int mount = clone_open(0);
    fast_made = 0;
    fast_dir = dir_open_at(mount, "a/b");
    fast_file = openat(fast_dir, "c", O_PATH | O_CLOEXEC);
    assert_true(fast_file >= 0);
    int r = destroy(0, &refusal);
    size_t clones = count_clones();
    size_t trash = count_trash();
    collect();
    size_t still = count_trash();
    fast_dir = fd_close(fast_dir);
    fast_file = fd_close(fast_file);
    assert_true(fast_made > 0 && fast_made < UNBOUNDED);
    assert_int_equal(clones, 0);
    if (goes_at_once()) {
        assert_int_equal(r, 0);
        assert_int_equal(trash + still, 0);
    } else {
        /* it is no clone any more, but told of */
        assert_int_equal(r, -EBUSY);
        assert_int_equal(refusal.code, ERROR_BUSY);
        assert_int_equal(trash, 1);
        assert_int_equal(still, 1);
    }
    /* its name is free, and what gets it is not taken for what had it */
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    collect();
    assert_int_equal(count_trash(), 0);
    assert_int_equal(count_clones(), 1);
    assert_int_equal(clone_shell(0, "test -f etc/passwd"), 0);
    fd_close(mount);
}

/* It is no clone any more, though nobody had the time; another destroy, or a collection, does
 * the rest. A dataset, and a subvolume, goes as a whole. */
void destroy_in_parts(void **state)
{
    struct storage *storage = &fixture.storage;
    for (unsigned n = 0; n < 2; n++) {
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
        assert_int_equal(clone_shell(n, "mkdir -p a/b; : > a/b/c"), 0);
        storage->remove_until_ms = 1; /* long ago */
        int first = destroy(n, NULL);
        int collected = storage->driver->collect(storage, NULL);
        size_t trash = count_trash();
        storage->remove_until_ms = 0;
        assert_int_equal(count_clones(), 0);
        assert_int_equal(first, -EAGAIN);
        assert_int_equal(collected, -EAGAIN);
        assert_int_equal(trash, 1);
        if (n == 0)
            assert_ok(destroy(n, &err));
        else
            collect();
        assert_int_equal(count_trash(), 0);
    }
}

/* No accomplice is needed for a tree that is deeper than anybody counts. */
void destroy_deep(void **state)
{
    bool is_small = streq(fixture.file_system, "ext4"); /* it has 16384 inodes */
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    int at = clone_open(0);
    unsigned depth = fixture.is_limited ? 5000 : is_small ? 12000 : 25000;
    for (unsigned level = 0; level < depth; level++) {
        assert_int_equal(mkdirat(at, "d", 0755), 0);
        int next = dir_open_at(at, "d");
        assert_true(next >= 0);
        fd_close(at);
        at = next;
    }
    fd_close(at);
    assert_ok(destroy(0, &err));
    assert_int_equal(count_trash(), 0);
}

static void make_files(int dir)
{
    char name[32];
    for (unsigned i = 0;; i++) {
        (void)snprintf(name, sizeof(name), "file-%u", i);
        fd_close(openat(dir, name, O_WRONLY | O_CREAT | O_CLOEXEC, 0600));
    }
}

/* Always one level deeper, until there is enough of it for now. */
static void make_levels(int dir)
{
    for (;;) {
        int at = dir_open_at(dir, ".");
        for (unsigned level = 0; at >= 0 && level < NESTED_UNTIL; level++) {
            (void)mkdirat(at, "d", 0700);
            int next = dir_open_at(at, "d");
            fd_close(at);
            at = next;
        }
        fd_close(at);
    }
}

static pid_t accomplice(int mount, const char *path, void (*work)(int dir))
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    (void)alarm(2 * PATIENCE_S);
    int dir = dir_open_at(mount, path);
    if (dir >= 0)
        work(dir);
    _exit(1);
}

/* Some processes that do what they can. Who wins is not said, only that it ends. */
void destroy_while_written(void **state)
{
    static const char *const paths[ACCOMPLICES] = {"a/b", "a", "."};
    for (unsigned n = 0; n < ROUNDS; n++) {
        struct timespec begin;
        struct timespec end;
        pid_t pids[ACCOMPLICES];
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
        assert_int_equal(clone_shell(n, "mkdir -p a/b; : > a/b/c"), 0);
        int mount = clone_open(n);
        for (size_t i = 0; i < ACCOMPLICES; i++)
            pids[i] = accomplice(mount, paths[i], i == 1 ? make_levels : make_files);
        (void)usleep(20000);
        (void)clock_gettime(CLOCK_MONOTONIC, &begin);
        int r = destroy(n, NULL);
        (void)clock_gettime(CLOCK_MONOTONIC, &end);
        size_t clones = count_clones();
        for (size_t i = 0; i < ACCOMPLICES; i++) {
            (void)kill(pids[i], SIGKILL);
            (void)waitpid(pids[i], NULL, 0);
        }
        fd_close(mount);
        if (r != 0 && r != -EBUSY)
            fail_msg("destroy: %s", strerror(-r));
        assert_int_equal(clones, 0);
        assert_true(end.tv_sec - begin.tv_sec < PATIENCE_S);
        collect();
        assert_int_equal(count_trash(), 0);
    }
}
