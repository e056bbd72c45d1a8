/* SPDX-License-Identifier: Apache-2.0 */
/* Archives of trees: what comes out of one is what went in, and the same tree gives the same
 * bytes. Needs root and a TMPDIR on a file system with extended attributes and ACLs; without
 * root every test is skipped. */
#include "image/export.h"

#include "image/image.h"
#include "sys/fd.h"
#include "sys/tree.h"
#include "two_trees.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <endian.h>
#include <fcntl.h>
#include <linux/posix_acl.h>
#include <linux/posix_acl_xattr.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static int make_file(int at, const char *name, const char *content)
{
    int fd = openat(at, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
    return fd;
}

static int export(const struct fixture *f)
{
    struct error err = {0};
    int fd = memfd_create("archive", MFD_CLOEXEC);
    assert_true(fd >= 0);
    int r = image_export_tar(f->from, fd, NULL, &err);
    if (r < 0)
        fail_msg("%s", err.text);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return fd;
}

static void assert_same_file(int a, int b)
{
    struct stat one;
    struct stat two;
    assert_int_equal(fstat(a, &one), 0);
    assert_int_equal(fstat(b, &two), 0);
    assert_int_equal(one.st_size, two.st_size);
    void *x = mmap(NULL, (size_t)one.st_size, PROT_READ, MAP_PRIVATE, a, 0);
    void *y = mmap(NULL, (size_t)one.st_size, PROT_READ, MAP_PRIVATE, b, 0);
    assert_true(x != MAP_FAILED && y != MAP_FAILED);
    assert_memory_equal(x, y, (size_t)one.st_size);
    (void)munmap(x, (size_t)one.st_size);
    (void)munmap(y, (size_t)one.st_size);
}

/* What is exported from `from` is unpacked into `to` as the same tree. */
static void assert_travels(const struct fixture *f)
{
    char before[IMAGE_HASH_TEXT];
    char after[IMAGE_HASH_TEXT];
    struct error err = {0};
    _cleanup_close_ int archive = export(f);
    _cleanup_close_ int again = export(f);
    assert_same_file(archive, again);
    if (image_extract(archive, "test.tar", f->to, NULL, &err) < 0)
        fail_msg("%s", err.text);
    assert_int_equal(image_hash(f->from, before, NULL, &err), 0);
    assert_int_equal(image_hash(f->to, after, NULL, &err), 0);
    assert_string_equal(before, after);
}

static void test_empty(void **state)
{
    assert_travels(*state);
}

static void test_kinds(void **state)
{
    struct fixture *f = *state;
    _cleanup_close_ int file = make_file(f->from, "file", "content");
    assert_int_equal(fchown(file, 4000000000U, 2097152), 0);
    assert_int_equal(fchmod(file, 06755), 0);
    assert_int_equal(mkdirat(f->from, "d", 01777), 0);
    assert_int_equal(linkat(f->from, "file", f->from, "d/hard", 0), 0);
    assert_int_equal(symlinkat("/no/where", f->from, "d/link"), 0);
    assert_int_equal(linkat(f->from, "d/link", f->from, "hard-link", 0), 0);
    assert_int_equal(mkfifoat(f->from, "fifo", 0600), 0);
    assert_int_equal(mknodat(f->from, "char", S_IFCHR | 0666, makedev(511, 1048575)), 0);
    assert_int_equal(mknodat(f->from, "block", S_IFBLK | 0660, makedev(8, 1)), 0);
    assert_int_equal(mknodat(f->from, "socket", S_IFSOCK | 0600, 0), 0);
    fd_close(make_file(f->from, "empty", ""));
    assert_travels(f);
    struct stat one;
    struct stat two;
    assert_int_equal(fstatat(f->to, "d/link", &one, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(fstatat(f->to, "hard-link", &two, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(one.st_ino, two.st_ino);
    assert_int_equal(fstatat(f->to, "socket", &two, AT_SYMLINK_NOFOLLOW), -1);
}

static void test_names(void **state)
{
    struct fixture *f = *state;
    char name[256];
    char target[3000];
    memset(name, 'n', 255);
    name[255] = '\0';
    memset(target, 't', sizeof(target) - 1);
    target[sizeof(target) - 1] = '\0';
    fd_close(make_file(f->from, name, "long"));
    fd_close(make_file(f->from, "e\xcc\x81 composed \xc3\xa9", "UTF-8"));
    fd_close(make_file(f->from, "\xff\xfe=\n 12 path=x\n", "no UTF-8"));
    assert_int_equal(symlinkat(target, f->from, "to far"), 0);
    assert_int_equal(symlinkat("\xe9\n", f->from, "odd"), 0);
    /* one byte to the left and right of what fits into the header */
    memset(name, 'x', 102);
    for (size_t length = 98; length <= 101; length++) {
        name[length] = '\0';
        fd_close(make_file(f->from, name, "edge"));
        name[length] = 'd';
        name[length + 1] = '\0';
        assert_int_equal(mkdirat(f->from, name, 0700), 0);
        name[length] = 'x';
        name[length + 1] = 'x';
    }
    assert_travels(f);
}

static void test_times(void **state)
{
    static const struct timespec times[] = {
        {0, 0}, {1, 1}, {1234567890, 123456789}, {1LL << 31, 0}, {-5, 0}, {1LL << 33, 500},
    };
    struct fixture *f = *state;
    for (size_t i = 0; i < ELEMENTS(times); i++) {
        char name[8];
        const struct timespec both[2] = {{5, 5}, times[i]};
        (void)snprintf(name, sizeof(name), "t%zu", i);
        _cleanup_close_ int fd = make_file(f->from, name, "");
        assert_int_equal(futimens(fd, both), 0);
    }
    assert_travels(f);
}

static void set_acl(int fd, const char *name)
{
    static const struct {
        uint16_t tag;
        uint16_t bits;
        uint32_t id;
    } entries[] = {
        {ACL_USER_OBJ, 7, (uint32_t)ACL_UNDEFINED_ID},
        {ACL_USER, 5, 0},
        {ACL_USER, 6, 4000000},
        {ACL_GROUP_OBJ, 0, (uint32_t)ACL_UNDEFINED_ID},
        {ACL_GROUP, 4, 70000},
        {ACL_MASK, 6, (uint32_t)ACL_UNDEFINED_ID},
        {ACL_OTHER, 1, (uint32_t)ACL_UNDEFINED_ID},
    };
    struct {
        struct posix_acl_xattr_header header;
        struct posix_acl_xattr_entry entries[ELEMENTS(entries)];
    } acl = {.header.a_version = htole32(POSIX_ACL_XATTR_VERSION)};
    for (size_t i = 0; i < ELEMENTS(entries); i++)
        acl.entries[i] = (struct posix_acl_xattr_entry){
            htole16(entries[i].tag), htole16(entries[i].bits), htole32(entries[i].id)};
    assert_int_equal(fsetxattr(fd, name, &acl, sizeof(acl), 0), 0);
}

static void test_attributes(void **state)
{
    struct fixture *f = *state;
    static const char capability[] = {1, 0, 0, 2, 0, 4, 0, 0, 0, 0,
                                      0, 0, 0, 0, 0, 0, 0, 0, 0, 0};
    char large[3000];
    for (size_t i = 0; i < sizeof(large); i++)
        large[i] = (char)i;
    _cleanup_close_ int fd = make_file(f->from, "file", "content");
    assert_int_equal(fsetxattr(fd, "user.large", large, sizeof(large), 0), 0);
    assert_int_equal(fsetxattr(fd, "user.\xff empty", "", 0, 0), 0);
    assert_int_equal(fsetxattr(fd, "trusted.mine", "\n\0x", 3, 0), 0);
    assert_int_equal(fsetxattr(fd, "security.capability", capability, sizeof(capability), 0),
                     0);
    set_acl(fd, "system.posix_acl_access");
    assert_int_equal(mkdirat(f->from, "d", 0755), 0);
    _cleanup_close_ int d = dir_open_at(f->from, "d");
    set_acl(d, "system.posix_acl_default");
    assert_int_equal(fsetxattr(d, "user.d", "d", 1, 0), 0);
    assert_int_equal(fsetxattr(f->from, "user.root", "r", 1, 0), 0);
    assert_travels(f);
    assert_int_equal(fsetxattr(fd, "user.a=b", "x", 1, 0), 0);
    struct error err = {0};
    _cleanup_close_ int out = memfd_create("archive", MFD_CLOEXEC);
    assert_int_equal(image_export_tar(f->from, out, NULL, &err), -EINVAL);
    assert_int_equal(err.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(err.text, "user.a=b"));
}

static void test_holes(void **state)
{
    struct fixture *f = *state;
    struct stat st;
    _cleanup_close_ int fd = make_file(f->from, "parts", "begin");
    for (off_t at = 1; at < 300; at++)
        assert_int_equal(pwrite(fd, "middle", 6, at * 100000), 6);
    _cleanup_close_ int hole = make_file(f->from, "hole", "");
    assert_int_equal(ftruncate(hole, 1LL << 40), 0);
    _cleanup_close_ int tail = make_file(f->from, "tail", "begin");
    assert_int_equal(ftruncate(tail, (1 << 20) + 1), 0);
    _cleanup_close_ int head = make_file(f->from, "head", "");
    assert_int_equal(pwrite(head, "end", 3, (9LL << 30)), 3);
    _cleanup_close_ int archive = export(f);
    assert_int_equal(fstat(archive, &st), 0);
    assert_true(st.st_size < 4 << 20);
    /* a terabyte would take long to hash */
    assert_int_equal(ftruncate(hole, 3 << 20), 0);
    assert_int_equal(ftruncate(head, 8192), 0);
    assert_travels(f);
    assert_int_equal(fstatat(f->to, "hole", &st, 0), 0);
    assert_int_equal(st.st_blocks, 0);
}

static void test_broken_pipe(void **state)
{
    struct fixture *f = *state;
    struct error err = {0};
    int ends[2];
    assert_int_equal(pipe2(ends, O_CLOEXEC), 0);
    fd_close(ends[0]);
    (void)signal(SIGPIPE, SIG_IGN);
    assert_int_equal(image_export_tar(f->from, ends[1], NULL, &err), -EPIPE);
    fd_close(ends[1]);
    _cleanup_close_ int full = open("/dev/full", O_WRONLY | O_CLOEXEC);
    assert_int_equal(image_export_tar(f->from, full, NULL, &err), -ENOSPC);
    assert_int_equal(err.code, ERROR_NO_SPACE);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_empty),      CASE(test_kinds), CASE(test_names),       CASE(test_times),
        CASE(test_attributes), CASE(test_holes), CASE(test_broken_pipe),
    };
    if (geteuid() != 0) {
        print_message("needs root: skipped\n");
        return 77;
    }
    (void)umask(0);
    return cmocka_run_group_tests(tests, NULL, NULL);
}
