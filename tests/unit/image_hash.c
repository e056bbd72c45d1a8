/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of a tree: the same for the same tree, another one after any change. Needs root and
 * a TMPDIR on a file system with extended attributes; without root every test is skipped. */
#include "image/image.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

struct fixture {
    char path[256];
    int root;
};

static void keep_times(int at, const char *name)
{
    const struct timespec times[2] = {{1, 0}, {1000, 5}};
    assert_int_equal(utimensat(at, name, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void make_file(int at, const char *name, const char *content)
{
    _cleanup_close_ int fd = openat(at, name, O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
}

/* Every name gets the same times again, so that each change below is the only one. */
static void settle(int root)
{
    static const char *const names[] = {"d/f", "d/h",   "d/s", "d/c", "d/p",
                                        "d/g", "d/new", "d",   "e",   "."};
    const struct timespec times[2] = {{1, 0}, {1000, 5}};
    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (utimensat(root, names[i], times, AT_SYMLINK_NOFOLLOW) < 0)
            assert_int_equal(errno, ENOENT);
}

static int setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *base = getenv("TMPDIR");
    if (!f)
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/image-hash-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->path))
        return -1;
    f->root = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (f->root < 0 || mkdirat(f->root, "d", 0755) < 0 || mkdirat(f->root, "e", 0755) < 0 ||
        symlinkat("target", f->root, "d/s") < 0 || mkfifoat(f->root, "d/p", 0644) < 0 ||
        mknodat(f->root, "d/c", S_IFCHR | 0644, makedev(1, 3)) < 0)
        return -1;
    make_file(f->root, "d/f", "content");
    make_file(f->root, "d/g", "content");
    if (linkat(f->root, "d/f", f->root, "d/h", 0) < 0)
        return -1;
    settle(f->root);
    *state = f;
    return 0;
}

static int teardown(void **state)
{
    struct fixture *f = *state;
    close(f->root);
    int r = tree_remove(AT_FDCWD, f->path);
    free(f);
    return r;
}

static void hash(const struct fixture *f, char *out)
{
    struct error err = {0};
    assert_int_equal(image_hash(f->root, out, NULL, &err), 0);
    assert_int_equal(strlen(out), 64);
}

static void test_stable(void **state)
{
    struct fixture *f = *state;
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    hash(f, before);
    hash(f, after);
    assert_string_equal(before, after);
    /* reading moves access times only */
    const struct timespec times[2] = {{99, 9}, {1000, 5}};
    assert_int_equal(utimensat(f->root, "d/f", times, 0), 0);
    /* attributes of overlayfs do not count */
    _cleanup_close_ int d = dir_open_at(f->root, "d");
    assert_int_equal(fsetxattr(d, "trusted.overlay.opaque", "y", 1, 0), 0);
    hash(f, after);
    assert_string_equal(before, after);
}

/* Other inode numbers, another order of the entries on disk. */
static void test_independent_of_order(void **state)
{
    struct fixture *f = *state;
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    hash(f, before);
    assert_int_equal(tree_remove(f->root, "d"), 0);
    assert_int_equal(tree_remove(f->root, "e"), 0);
    assert_int_equal(mkdirat(f->root, "e", 0755), 0);
    assert_int_equal(mkdirat(f->root, "d", 0755), 0);
    make_file(f->root, "d/h", "content");
    assert_int_equal(mknodat(f->root, "d/c", S_IFCHR | 0644, makedev(1, 3)), 0);
    make_file(f->root, "d/g", "content");
    assert_int_equal(mkfifoat(f->root, "d/p", 0644), 0);
    assert_int_equal(linkat(f->root, "d/h", f->root, "d/f", 0), 0);
    assert_int_equal(symlinkat("target", f->root, "d/s"), 0);
    settle(f->root);
    hash(f, after);
    assert_string_equal(before, after);
}

/* Copies and archives have none, and are the same tree. */
static void test_without_sockets(void **state)
{
    struct fixture *f = *state;
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    hash(f, before);
    assert_int_equal(mknodat(f->root, "d/socket", S_IFSOCK | 0600, 0), 0);
    settle(f->root);
    hash(f, after);
    assert_string_equal(before, after);
}

typedef void change(int root);

static void change_content(int root)
{
    make_file(root, "d/f", "Content");
}

static void change_size(int root)
{
    make_file(root, "d/f", "content\n");
}

static void change_mode(int root)
{
    assert_int_equal(fchmodat(root, "d/g", 04644, 0), 0);
}

static void change_directory_mode(int root)
{
    assert_int_equal(fchmodat(root, "e", 01755, 0), 0);
}

static void change_root_mode(int root)
{
    assert_int_equal(fchmod(root, 0750), 0);
}

static void change_uid(int root)
{
    assert_int_equal(fchownat(root, "d/g", 1, (gid_t)-1, 0), 0);
}

static void change_gid(int root)
{
    assert_int_equal(fchownat(root, "d/s", (uid_t)-1, 1, AT_SYMLINK_NOFOLLOW), 0);
}

static void change_name(int root)
{
    assert_int_equal(renameat(root, "d/g", root, "d/new"), 0);
}

static void change_place(int root)
{
    assert_int_equal(renameat(root, "d/g", root, "e/g"), 0);
    keep_times(root, "e/g");
}

static void change_target(int root)
{
    assert_int_equal(unlinkat(root, "d/s", 0), 0);
    assert_int_equal(symlinkat("Target", root, "d/s"), 0);
}

static void change_type(int root)
{
    assert_int_equal(unlinkat(root, "d/p", 0), 0);
    make_file(root, "d/p", "");
}

static void change_device(int root)
{
    assert_int_equal(unlinkat(root, "d/c", 0), 0);
    assert_int_equal(mknodat(root, "d/c", S_IFCHR | 0644, makedev(1, 5)), 0);
}

static void change_device_type(int root)
{
    assert_int_equal(unlinkat(root, "d/c", 0), 0);
    assert_int_equal(mknodat(root, "d/c", S_IFBLK | 0644, makedev(1, 3)), 0);
}

/* d/h becomes a link of d/g, which has the same content. */
static void change_link(int root)
{
    assert_int_equal(unlinkat(root, "d/h", 0), 0);
    assert_int_equal(linkat(root, "d/g", root, "d/h", 0), 0);
}

static void change_link_broken(int root)
{
    assert_int_equal(unlinkat(root, "d/h", 0), 0);
    make_file(root, "d/h", "content");
}

static void change_xattr(int root)
{
    _cleanup_close_ int fd = openat(root, "d/f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fsetxattr(fd, "user.a", "", 0, 0), 0);
}

static void change_directory_xattr(int root)
{
    _cleanup_close_ int fd = dir_open_at(root, "e");
    assert_int_equal(fsetxattr(fd, "trusted.a", "b", 1, 0), 0);
}

static void change_symlink_xattr(int root)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d/d/s", root);
    assert_int_equal(lsetxattr(path, "trusted.a", "b", 1, 0), 0);
}

static void change_addition(int root)
{
    make_file(root, "d/new", "");
}

static void change_removal(int root)
{
    assert_int_equal(unlinkat(root, "d/p", 0), 0);
}

static const struct {
    const char *name;
    change *apply;
} changes[] = {
    {"content", change_content},
    {"size", change_size},
    {"mode", change_mode},
    {"mode of a directory", change_directory_mode},
    {"mode of the root", change_root_mode},
    {"uid", change_uid},
    {"gid of a symlink", change_gid},
    {"name", change_name},
    {"place", change_place},
    {"symlink target", change_target},
    {"type", change_type},
    {"device number", change_device},
    {"device type", change_device_type},
    {"another hard link", change_link},
    {"hard link broken", change_link_broken},
    {"attribute", change_xattr},
    {"attribute of a directory", change_directory_xattr},
    {"attribute of a symlink", change_symlink_xattr},
    {"new file", change_addition},
    {"removed file", change_removal},
};

static void test_sensitive(void **state)
{
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    for (size_t i = 0; i < ELEMENTS(changes); i++) {
        void *fresh = NULL;
        assert_int_equal(setup(&fresh), 0);
        const struct fixture *f = fresh;
        hash(f, before);
        changes[i].apply(f->root);
        settle(f->root);
        hash(f, after);
        if (strcmp(before, after) == 0)
            print_error("not seen: %s\n", changes[i].name);
        assert_string_not_equal(before, after);
        assert_int_equal(teardown(&fresh), 0);
    }
}

static void test_sensitive_to_times(void **state)
{
    static const char *const names[] = {"d/f", "d/s", "d/c", "d/p", "d", "e", "."};
    const struct fixture *f = *state;
    const struct timespec nanosecond[2] = {{1, 0}, {1000, 6}};
    const struct timespec second[2] = {{1, 0}, {1001, 5}};
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    hash(f, before);
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        assert_int_equal(utimensat(f->root, names[i], nanosecond, AT_SYMLINK_NOFOLLOW), 0);
        hash(f, after);
        assert_string_not_equal(before, after);
        assert_int_equal(utimensat(f->root, names[i], second, AT_SYMLINK_NOFOLLOW), 0);
        hash(f, after);
        assert_string_not_equal(before, after);
        settle(f->root);
        hash(f, after);
        assert_string_equal(before, after);
    }
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_stable),
        CASE(test_independent_of_order),
        CASE(test_without_sockets),
        cmocka_unit_test(test_sensitive),
        CASE(test_sensitive_to_times),
    };
    if (geteuid() != 0) {
        print_message("image_hash: needs root; skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
