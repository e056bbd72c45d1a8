/* SPDX-License-Identifier: Apache-2.0 */
/* Archives that reach for what is outside of the directory that they are unpacked into. Needs
 * root (chroot); without root every test is skipped. */
#include "image_archive.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* The archive is refused as ERROR_DENIED, the error names the entry, nothing is outside. */
static void assert_refused(void **state, const struct item *items, size_t n, const char *name)
{
    const struct fixture *f = *state;
    struct error err = {0};
    struct stat st;
    assert_int_equal(archive_extract(f, items, n, &err), -EPERM);
    assert_int_equal(err.code, ERROR_DENIED);
    assert_non_null(strstr(err.text, name));
    assert_int_equal(fstatat(f->outside, "evil", &st, AT_SYMLINK_NOFOLLOW), -1);
    assert_int_equal(faccessat(AT_FDCWD, "/evil-of-image-tar", F_OK, AT_SYMLINK_NOFOLLOW), -1);
}

#define REFUSED(state, name, ...)                                                              \
    do {                                                                                       \
        const struct item items_[] = {__VA_ARGS__};                                            \
        assert_refused(state, items_, ELEMENTS(items_), name);                                 \
    } while (0)

static void test_absolute_name(void **state)
{
    REFUSED(state, "/evil-of-image-tar",
            {.path = "/evil-of-image-tar", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_dot_dot(void **state)
{
    REFUSED(state, "../evil",
            {.path = "../evil", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_dot_dot_inside(void **state)
{
    REFUSED(state, "a/../../evil", {.path = "a/", .type = AE_IFDIR, .mode = 0755},
            {.path = "a/../../evil", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_through_symlink(void **state)
{
    REFUSED(state, "out/evil", {.path = "out", .type = AE_IFLNK, .link = "..", .mode = 0777},
            {.path = "out/evil", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_through_absolute_symlink(void **state)
{
    REFUSED(state, "out/evil-of-image-tar",
            {.path = "out", .type = AE_IFLNK, .link = "/", .mode = 0777},
            {.path = "out/evil-of-image-tar", .type = AE_IFDIR, .mode = 0755});
}

/* Even where the symlink stays inside: an archive made from a tree has no such entry. */
static void test_through_inner_symlink(void **state)
{
    REFUSED(state, "l/f", {.path = "d/", .type = AE_IFDIR, .mode = 0755},
            {.path = "l", .type = AE_IFLNK, .link = "d", .mode = 0777},
            {.path = "l/f", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_through_file(void **state)
{
    REFUSED(state, "f/g", {.path = "f", .type = AE_IFREG, .content = "x", .mode = 0644},
            {.path = "f/g", .type = AE_IFREG, .content = "x", .mode = 0644});
}

static void test_hard_link_outside(void **state)
{
    REFUSED(state, "shadow", {.path = "shadow", .link = "../../etc/shadow"});
    REFUSED(state, "shadow", {.path = "shadow", .link = "/etc/shadow"});
}

static void test_hard_link_through_symlink(void **state)
{
    REFUSED(state, "shadow", {.path = "e", .type = AE_IFLNK, .link = "/etc", .mode = 0777},
            {.path = "shadow", .link = "e/shadow"});
}

static void test_hard_link_to_nothing(void **state)
{
    const struct item items[] = {{.path = "a", .link = "missing"}};
    struct error err = {0};
    assert_int_equal(archive_extract(*state, items, ELEMENTS(items), &err), -ENOENT);
    assert_non_null(strstr(err.text, "missing"));
}

/* A symlink that is replaced by a file, then written: the file behind the symlink stays. */
static void test_write_over_symlink(void **state)
{
    const struct fixture *f = *state;
    const struct item items[] = {
        {.path = "victim", .type = AE_IFREG, .content = "old", .mode = 0644},
        {.path = "s", .type = AE_IFLNK, .link = "victim", .mode = 0777},
        {.path = "s", .type = AE_IFREG, .content = "new", .mode = 0644},
    };
    struct error err = {0};
    assert_int_equal(archive_extract(f, items, ELEMENTS(items), &err), 0);
    archive_assert_content(f, "victim", "old");
    archive_assert_content(f, "s", "new");
}

static void test_write_over_hard_link(void **state)
{
    const struct fixture *f = *state;
    const struct item items[] = {
        {.path = "victim", .type = AE_IFREG, .content = "old", .mode = 0644},
        {.path = "h", .link = "victim"},
        {.path = "h", .type = AE_IFREG, .content = "new", .mode = 0644},
    };
    struct error err = {0};
    assert_int_equal(archive_extract(f, items, ELEMENTS(items), &err), 0);
    archive_assert_content(f, "victim", "old");
    archive_assert_content(f, "h", "new");
}

static void test_directory_with_content_is_kept(void **state)
{
    const struct fixture *f = *state;
    const struct item items[] = {
        {.path = "d/f", .type = AE_IFREG, .content = "x", .mode = 0644},
        {.path = "d", .type = AE_IFREG, .content = "y", .mode = 0644},
    };
    struct error err = {0};
    assert_int_equal(archive_extract(f, items, ELEMENTS(items), &err), -EEXIST);
    archive_assert_content(f, "d/f", "x");
}

/* The cached parent must not outlive its directory. */
static void test_directory_replaced_by_symlink(void **state)
{
    REFUSED(state, "d/evil", {.path = "d", .type = AE_IFDIR, .mode = 0755},
            {.path = "d/x", .type = AE_IFREG, .content = "x", .mode = 0644},
            {.path = "d/x", .type = AE_IFDIR, .mode = 0755},
            {.path = "e", .type = AE_IFDIR, .mode = 0755},
            {.path = "e", .type = AE_IFLNK, .link = "..", .mode = 0777},
            {.path = "d/x", .type = AE_IFLNK, .link = "../..", .mode = 0777},
            {.path = "d/x/d/evil", .type = AE_IFREG, .content = "x", .mode = 0644});
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, archive_setup, archive_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_absolute_name),
        CASE(test_dot_dot),
        CASE(test_dot_dot_inside),
        CASE(test_through_symlink),
        CASE(test_through_absolute_symlink),
        CASE(test_through_inner_symlink),
        CASE(test_through_file),
        CASE(test_hard_link_outside),
        CASE(test_hard_link_through_symlink),
        CASE(test_hard_link_to_nothing),
        CASE(test_write_over_symlink),
        CASE(test_write_over_hard_link),
        CASE(test_directory_with_content_is_kept),
        CASE(test_directory_replaced_by_symlink),
    };
    if (geteuid() != 0) {
        print_message("image_tar_hostile: needs root; skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
