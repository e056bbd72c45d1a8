/* SPDX-License-Identifier: Apache-2.0 */
/* Copying of trees. Needs root and a TMPDIR on a file system with extended attributes; without
 * root every test is skipped. */
#include "image/image.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/tree.h"
#include "two_trees.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/un.h>
#include <sys/wait.h>
#include <sys/xattr.h>

static void make_file(int at, const char *name, const char *content, mode_t mode)
{
    _cleanup_close_ int fd = openat(at, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    assert_true(fd >= 0);
    assert_int_equal(fd_write_all(fd, content, strlen(content)), 0);
    assert_int_equal(fchmod(fd, mode), 0);
}

/* The hash sees everything that a copy must keep but holes and access times. */
static void assert_same(const struct fixture *f)
{
    char from[IMAGE_HASH_TEXT];
    char to[IMAGE_HASH_TEXT];
    struct error err = {0};
    assert_int_equal(image_hash(f->from, from, NULL, &err), 0);
    assert_int_equal(image_hash(f->to, to, NULL, &err), 0);
    assert_string_equal(from, to);
}

static void copy(const struct fixture *f)
{
    struct error err = {0};
    int r = image_copy(f->from, f->to, NULL, &err);
    if (r < 0)
        print_error("%s\n", err.text);
    assert_int_equal(r, 0);
}

static void set_times(int at, const char *name, long seconds, long nanoseconds)
{
    const struct timespec times[2] = {{seconds + 7, nanoseconds + 7}, {seconds, nanoseconds}};
    assert_int_equal(utimensat(at, name, times, AT_SYMLINK_NOFOLLOW), 0);
}

static void test_everything(void **state)
{
    const struct fixture *f = *state;
    static const unsigned char acl[] = {
        2, 0,    0,    0,   1,   0,   6,    0, 255, 255, 255, 255, 2,   0,    4,
        0, 0xe1, 0x10, 0,   0,   4,   0,    4, 0,   255, 255, 255, 255, 0x10, 0,
        4, 0,    255,  255, 255, 255, 0x20, 0, 0,   0,   255, 255, 255, 255};
    const struct vfs_cap_data capability = {.magic_etc = VFS_CAP_REVISION_2,
                                            .data = {{.permitted = 1 << 13}}};
    struct stat st;
    char value[64];
    assert_int_equal(mkdirat(f->from, "d", 0755), 0);
    make_file(f->from, "d/suid", "x", 04755);
    assert_int_equal(fchownat(f->from, "d/suid", 12, 34, 0), 0);
    assert_int_equal(fchmodat(f->from, "d/suid", 06755, 0), 0);
    make_file(f->from, "d/bytes \xff\n", "y", 0600);
    _cleanup_close_ int fd = openat(f->from, "d/suid", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int d = dir_open_at(f->from, "d");
    assert_int_equal(fsetxattr(fd, "user.a", "b", 1, 0), 0);
    assert_int_equal(fsetxattr(fd, "trusted.b", "", 0, 0), 0);
    assert_int_equal(fsetxattr(fd, "security.capability", &capability, XATTR_CAPS_SZ_2, 0), 0);
    assert_int_equal(fsetxattr(fd, "system.posix_acl_access", acl, sizeof(acl), 0), 0);
    assert_int_equal(fsetxattr(fd, "trusted.overlay.opaque", "y", 1, 0), 0);
    /* children made while copying must not inherit this */
    assert_int_equal(fsetxattr(d, "system.posix_acl_default", acl, sizeof(acl), 0), 0);
    assert_int_equal(linkat(f->from, "d/suid", f->from, "a-link", 0), 0);
    assert_int_equal(symlinkat("/etc/shadow", f->from, "s"), 0);
    assert_int_equal(fchownat(f->from, "s", 5, 6, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(mknodat(f->from, "null", S_IFCHR | 0666, makedev(1, 3)), 0);
    assert_int_equal(mknodat(f->from, "block", S_IFBLK | 0660, makedev(7, 200)), 0);
    assert_int_equal(mkfifoat(f->from, "fifo", 0620), 0);
    assert_int_equal(linkat(f->from, "fifo", f->from, "fifo2", 0), 0);
    set_times(f->from, "s", 1000, 1);
    set_times(f->from, "null", 2000, 2);
    set_times(f->from, "d/suid", 3000, 333333333);
    set_times(f->from, "d", 4000, 4);
    assert_int_equal(fchmod(f->from, 0711), 0);
    set_times(f->from, ".", 5000, 5);
    copy(f);
    assert_same(f);
    assert_int_equal(fstatat(f->to, "a-link", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(st.st_mode & 07777, 06640); /* as the ACL says */
    assert_int_equal(st.st_uid, 12);
    assert_int_equal(st.st_mtim.tv_nsec, 333333333);
    assert_int_equal(fstatat(f->to, "fifo", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_nlink, 2);
    _cleanup_close_ int copied = openat(f->to, "d/suid", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(copied, "security.capability", value, sizeof(value)),
                     XATTR_CAPS_SZ_2);
    assert_int_equal(fgetxattr(copied, "trusted.overlay.opaque", value, sizeof(value)), -1);
}

static void test_sparse(void **state)
{
    const struct fixture *f = *state;
    struct stat from;
    struct stat to;
    _cleanup_close_ int fd = openat(f->from, "sparse", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    assert_int_equal(pwrite(fd, "middle", 6, 50 << 20), 6);
    assert_int_equal(ftruncate(fd, 200 << 20), 0);
    copy(f);
    assert_same(f);
    assert_int_equal(fstat(fd, &from), 0);
    assert_int_equal(fstatat(f->to, "sparse", &to, 0), 0);
    assert_int_equal(to.st_size, 200 << 20);
    assert_true(from.st_blocks < 2048 && to.st_blocks <= from.st_blocks + 256);
}

static void test_sockets_are_left_out(void **state)
{
    const struct fixture *f = *state;
    struct stat st;
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/socket",
                   f->from);
    assert_int_equal(bind(fd, (struct sockaddr *)&address, sizeof(address)), 0);
    copy(f);
    assert_int_equal(fstatat(f->to, "socket", &st, AT_SYMLINK_NOFOLLOW), -1);
}

static void test_deep(void **state)
{
    const struct fixture *f = *state;
    int at = dup(f->from);
    for (int i = 0; i < 2500; i++) {
        assert_int_equal(mkdirat(at, "a-long-name-of-a-directory", 0755), 0);
        int next = dir_open_at(at, "a-long-name-of-a-directory");
        close(at);
        at = next;
    }
    make_file(at, "bottom", "content", 0644);
    /* its first link lies behind a path longer than PATH_MAX */
    assert_int_equal(linkat(at, "bottom", f->from, "z-link", 0), 0);
    close(at);
    copy(f);
    assert_same(f);
}

static void test_source_contains_target(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(mkdirat(f->from, "sub", 0755), 0);
    assert_int_equal(mkdirat(f->from, "sub/target", 0755), 0);
    _cleanup_close_ int inside = dir_open_at(f->from, "sub/target");
    assert_int_equal(image_copy(f->from, inside, NULL, &err), -ELOOP);
    assert_non_null(strstr(err.text, "contains"));
    assert_int_equal(image_copy(f->from, f->from, NULL, &err), -ELOOP);
}

/* The same, where ".." of the target does not lead to the source. */
static void test_source_contains_detached_target(void **state)
{
    const struct fixture *f = *state;
    struct error err = {0};
    assert_int_equal(mkdirat(f->from, "target", 0755), 0);
    make_file(f->from, "a", "a", 0644);
    _cleanup_close_ int plain = dir_open_at(f->from, "target");
    _cleanup_close_ int inside = mount_open_tree(plain, "", false);
    if (inside < 0) {
        skip(); /* a container without mounts */
        return;
    }
    assert_int_equal(image_copy(f->from, inside, NULL, &err), -ELOOP);
}

static int copy_with_mount(const struct fixture *f)
{
    struct error err = {0};
    struct stat st;
    char path[300];
    if (unshare(CLONE_NEWNS) < 0 ||
        mount_classic("none", "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0)
        return 77;
    (void)snprintf(path, sizeof(path), "%s/from/mounted", f->path);
    if (mount_classic("tmpfs", path, "tmpfs", 0, NULL) < 0)
        return 77;
    (void)snprintf(path, sizeof(path), "%s/from/mounted/inside", f->path);
    /* f->from belongs to the other namespace, where nothing is mounted */
    _cleanup_close_ int base = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    _cleanup_close_ int from = dir_open_at(base, "from");
    if (mkdir(path, 0755) < 0 || faccessat(from, "mounted/inside", F_OK, 0) < 0 ||
        image_copy(from, f->to, NULL, &err) < 0)
        return 1;
    if (fstatat(f->to, "mounted", &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 2;
    return fstatat(f->to, "mounted/inside", &st, AT_SYMLINK_NOFOLLOW) < 0 ? 0 : 3;
}

static void test_mounts_are_not_crossed(void **state)
{
    const struct fixture *f = *state;
    int status = 0;
    assert_int_equal(mkdirat(f->from, "mounted", 0755), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0)
        _exit(copy_with_mount(f));
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_true(WIFEXITED(status));
    if (WEXITSTATUS(status) == 77)
        skip();
    assert_int_equal(WEXITSTATUS(status), 0);
}

static void test_disk_full(void **state)
{
    static const char *const options[] = {"size", "1M", NULL};
    const struct fixture *f = *state;
    struct error err = {0};
    _cleanup_close_ int small = mount_new("tmpfs", options, 0);
    if (small < 0) {
        skip();
        return;
    }
    _cleanup_free_ char *content = calloc(1, 3000001);
    memset(content, 'x', 3000000);
    make_file(f->from, "big", content, 0644);
    assert_int_equal(image_copy(f->from, small, NULL, &err), -ENOSPC);
    assert_int_equal(err.code, ERROR_NO_SPACE);
    assert_non_null(strstr(err.text, "3000000 bytes are needed"));
}

static void import_fails(const struct fixture *f, const char *source, enum error_code code,
                         const char *text)
{
    struct error err = {0};
    _cleanup_buffer_ struct buffer defaults = {0};
    assert_true(image_import(source, f->to, -EBADF, NULL, &defaults, &err) < 0);
    assert_int_equal(err.code, code);
    if (!strstr(err.text, text))
        print_error("%s\n", err.text);
    assert_non_null(strstr(err.text, text));
}

static void test_bad_sources(void **state)
{
    const struct fixture *f = *state;
    char source[300];
    import_fails(f, "dir:/nonexistent/path", ERROR_NOT_FOUND, "/nonexistent/path");
    import_fails(f, "dir:/etc/passwd", ERROR_INVALID, "not a directory");
    import_fails(f, "tar:/nonexistent.tar", ERROR_NOT_FOUND, "/nonexistent.tar");
    import_fails(f, "tar:/etc", ERROR_INVALID, "not a regular file");
    (void)snprintf(source, sizeof(source), "dir:%s", f->path);
    import_fails(f, source, ERROR_INVALID, "contains");
    make_file(f->to, "leftover", "", 0644);
    import_fails(f, "dir:/etc", ERROR_INVALID, "leftover");
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_everything),
        CASE(test_sparse),
        CASE(test_sockets_are_left_out),
        CASE(test_deep),
        CASE(test_source_contains_target),
        CASE(test_source_contains_detached_target),
        CASE(test_mounts_are_not_crossed),
        CASE(test_disk_full),
        CASE(test_bad_sources),
    };
    if (geteuid() != 0) {
        print_message("image_copy: needs root; skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
