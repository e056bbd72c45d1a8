/* SPDX-License-Identifier: Apache-2.0 */
/* Unpacking of tar archives: what is in them, whole or damaged. Needs root (chroot, mknod) and
 * a TMPDIR on a file system with extended attributes; without root every test is skipped. */
#include "image_archive.h"

#include "sys/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

static void test_faithful(void **state)
{
    const struct fixture *f = *state;
    const struct item items[] = {
        {.path = "./", .type = AE_IFDIR, .mode = 0751},
        {.path = "./d/", .type = AE_IFDIR, .mode = 02750},
        {.path = "./d/f", .type = AE_IFREG, .content = "hello", .mode = 04755},
        {.path = "./d/null", .type = AE_IFCHR, .mode = 0666},
        {.path = "./d/link", .link = "d/f"},
        {.path = "./d/sym", .type = AE_IFLNK, .link = "/absolute/target", .mode = 0777},
        {.path = "./d/e\xcc\x81-\xff", .type = AE_IFREG, .content = "name", .mode = 0600},
    };
    struct error err = {0};
    struct stat st;
    struct stat other;
    assert_int_equal(archive_extract(f, items, ELEMENTS(items), &err), 0);
    assert_int_equal(fstat(f->target, &st), 0);
    assert_int_equal(st.st_mode & 07777, 0751);
    assert_int_equal(st.st_mtim.tv_nsec, 123456789);
    assert_int_equal(fstatat(f->target, "d", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, 02750);
    assert_int_equal(st.st_mtim.tv_sec, 1000000);
    assert_int_equal(fstatat(f->target, "d/f", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_int_equal(st.st_mode & 07777, 04755);
    assert_int_equal(st.st_nlink, 2);
    assert_int_equal(fstatat(f->target, "d/link", &other, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(other.st_ino == st.st_ino);
    assert_int_equal(fstatat(f->target, "d/null", &st, AT_SYMLINK_NOFOLLOW), 0);
    assert_true(S_ISCHR(st.st_mode) && st.st_rdev == makedev(1, 7));
    char target[64] = "";
    assert_true(readlinkat(f->target, "d/sym", target, sizeof(target) - 1) > 0);
    assert_string_equal(target, "/absolute/target");
    archive_assert_content(f, "d/e\xcc\x81-\xff", "name");
}

static char *put_header(char *out, const char *name, char type, size_t size)
{
    unsigned sum = 0;
    memset(out, 0, 512);
    (void)snprintf(out, 100, "%s", name);
    (void)snprintf(out + 100, 8, "%07o", 0644);
    (void)snprintf(out + 108, 8, "%07o", 0);
    (void)snprintf(out + 116, 8, "%07o", 0);
    (void)snprintf(out + 124, 12, "%011o", (unsigned)size & 07777);
    (void)snprintf(out + 136, 12, "%011o", 0);
    memset(out + 148, ' ', 8);
    out[156] = type;
    if (type == '1' || type == '2') /* what does not fit here is in the pax header */
        memcpy(out + 157, "cut off", 7);
    memcpy(out + 257,
           "ustar\0"
           "00",
           8);
    for (size_t i = 0; i < 512; i++)
        sum += (unsigned char)out[i];
    (void)snprintf(out + 148, 8, "%06o", sum);
    return out + 512;
}

/* As GNU tar writes them: a pax header without hdrcharset. The names are those of the archive,
 * byte by byte: neither composed (e and U+0301 to U+00E9) nor cut at what is not UTF-8. */
static void test_names_are_bytes(void **state)
{
    static const char *const names[] = {"e\xcc\x81", "caf\xe9", "\xf0\x9f\x98\x80", "plain"};
    const struct fixture *f = *state;
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        _cleanup_free_ char *data = calloc(1, 16 * 512);
        struct error err = {0};
        struct stat st;
        char link[64];
        char *p = put_header(data, "x", 'x', strlen(names[i]) + 9);
        (void)snprintf(p, 512, "%02zu path=%s\n", strlen(names[i]) + 9, names[i]);
        p = put_header(p + 512, "short", '0', 0);
        p = put_header(p, "x", 'x', strlen(names[i]) + 13);
        (void)snprintf(p, 512, "%02zu linkpath=%s\n", strlen(names[i]) + 13, names[i]);
        p = put_header(p + 512, "hard", '1', 0);
        p = put_header(p, "x", 'x', strlen(names[i]) + 13);
        (void)snprintf(p, 512, "%02zu linkpath=%s\n", strlen(names[i]) + 13, names[i]);
        p = put_header(p + 512, "sym", '2', 0);
        int r = archive_extract_bytes(f, data, (size_t)(p - data) + 1024, &err);
        if (r < 0)
            print_error("%s\n", err.text);
        assert_int_equal(r, 0);
        assert_int_equal(fstatat(f->target, names[i], &st, AT_SYMLINK_NOFOLLOW), 0);
        assert_int_equal(st.st_nlink, 2);
        ssize_t n = readlinkat(f->target, "sym", link, sizeof(link));
        assert_int_equal(n, strlen(names[i]));
        assert_memory_equal(link, names[i], strlen(names[i]));
    }
}

static void test_xattrs_and_acl(void **state)
{
    const struct fixture *f = *state;
    _cleanup_free_ char *data = malloc(ARCHIVE_MAX);
    size_t used = 0;
    struct error err = {0};
    char value[64] = "";
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format_pax(a), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, data, ARCHIVE_MAX, &used), ARCHIVE_OK);
    struct archive_entry *e = archive_entry_new();
    archive_entry_set_pathname(e, "f");
    archive_entry_set_filetype(e, AE_IFREG);
    archive_entry_set_perm(e, 0640);
    archive_entry_xattr_add_entry(e, "user.a", "b=c\n", 4);
    archive_entry_xattr_add_entry(e, "trusted.overlay.opaque", "y", 1);
    archive_entry_acl_add_entry(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, ARCHIVE_ENTRY_ACL_READ,
                                ARCHIVE_ENTRY_ACL_USER, 4321, "4321");
    archive_entry_acl_add_entry(e, ARCHIVE_ENTRY_ACL_TYPE_ACCESS, ARCHIVE_ENTRY_ACL_READ,
                                ARCHIVE_ENTRY_ACL_MASK, -1, NULL);
    assert_int_equal(archive_write_header(a, e), ARCHIVE_OK);
    archive_entry_free(e);
    assert_int_equal(archive_write_free(a), ARCHIVE_OK);
    assert_int_equal(archive_extract_bytes(f, data, used, &err), 0);
    _cleanup_close_ int fd = openat(f->target, "f", O_RDONLY | O_CLOEXEC);
    assert_int_equal(fgetxattr(fd, "user.a", value, sizeof(value)), 4);
    assert_memory_equal(value, "b=c\n", 4);
    assert_int_equal(fgetxattr(fd, "trusted.overlay.opaque", value, sizeof(value)), -1);
    /* header, user::, user:4321, group::, mask::, other:: */
    assert_int_equal(fgetxattr(fd, "system.posix_acl_access", value, sizeof(value)), 4 + 5 * 8);
}

/* Cut anywhere, an archive is an error: inside a header, inside content, between two entries,
 * and with the end mark missing. */
static void test_truncated(void **state)
{
    const struct fixture *f = *state;
    const struct item items[] = {
        {.path = "a", .type = AE_IFREG, .content = "0123456789", .mode = 0644},
        {.path = "b", .type = AE_IFREG, .content = "0123456789", .mode = 0644},
    };
    static const int filters[] = {ARCHIVE_FILTER_NONE, ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ,
                                  ARCHIVE_FILTER_ZSTD};
    _cleanup_free_ char *data = malloc(ARCHIVE_MAX);
    for (size_t i = 0; i < ELEMENTS(filters); i++) {
        size_t length = archive_make(items, ELEMENTS(items), filters[i], data);
        struct error err = {0};
        assert_int_equal(archive_extract_bytes(f, data, length, &err), 0);
        /* without compression one block of zeros is enough of an end mark */
        size_t end = filters[i] == ARCHIVE_FILTER_NONE ? 5 * 512 : length;
        size_t step = filters[i] == ARCHIVE_FILTER_NONE ? 256 : 7;
        for (size_t cut = 0; cut < end - 1; cut += step) {
            int r = archive_extract_bytes(f, data, cut, &err);
            if (r != -EBADMSG)
                print_error("filter %d cut at %zu of %zu: %d\n", filters[i], cut, length, r);
            assert_int_equal(r, -EBADMSG);
        }
    }
}

static void test_damaged(void **state)
{
    static char content[200 * 1024];
    const struct fixture *f = *state;
    static const int filters[] = {ARCHIVE_FILTER_GZIP, ARCHIVE_FILTER_XZ, ARCHIVE_FILTER_BZIP2};
    _cleanup_free_ char *data = malloc(ARCHIVE_MAX);
    unsigned x = 1;
    for (size_t i = 0; i < sizeof(content) - 1; i++) {
        x = x * 1103515245 + 12345;
        content[i] = (char)('a' + (x >> 16) % 16);
    }
    const struct item items[] = {
        {.path = "a", .type = AE_IFREG, .content = content, .mode = 0644}};
    for (size_t i = 0; i < ELEMENTS(filters); i++) {
        size_t length = archive_make(items, 1, filters[i], data);
        for (size_t at = length / 7; at < length - 64; at += length / 5) {
            struct error err = {0};
            data[at] = (char)(data[at] ^ 0x10);
            assert_int_equal(archive_extract_bytes(f, data, length, &err), -EBADMSG);
            data[at] = (char)(data[at] ^ 0x10);
        }
    }
}

static void test_not_a_tar(void **state)
{
    struct error err = {0};
    assert_int_equal(archive_extract_bytes(*state, "just some text\n", 15, &err), -EBADMSG);
    assert_int_equal(archive_extract_bytes(*state, "", 0, &err), -EBADMSG);
}

static void test_depth(void **state)
{
    char path[2 * 1025 + 2];
    struct error err = {0};
    for (size_t i = 0; i < 1025; i++)
        memcpy(path + 2 * i, "a/", 2);
    path[2 * 1024 - 1] = '\0';
    const struct item deepest[] = {
        {.path = path, .type = AE_IFREG, .content = "x", .mode = 0644}};
    assert_int_equal(archive_extract(*state, deepest, 1, &err), 0);
    path[2 * 1024 - 1] = '/';
    path[2 * 1025 - 1] = '\0';
    assert_int_equal(archive_extract(*state, deepest, 1, &err), -ENAMETOOLONG);
}

/* A tmpfs of 1 MiB, reached by fd only: it is mounted nowhere. */
static void test_disk_full(void **state)
{
    static char content[2 * 1024 * 1024];
    static const char *const options[] = {"size", "1M", NULL};
    struct error err = {0};
    memset(content, 'x', sizeof(content) - 1);
    const struct item items[] = {
        {.path = "d/big", .type = AE_IFREG, .content = content, .mode = 0644}};
    struct fixture small = {.target = mount_new("tmpfs", options, 0)};
    if (small.target < 0) {
        skip(); /* a container without mounts */
        return;
    }
    assert_int_equal(archive_extract(&small, items, 1, &err), -ENOSPC);
    close(small.target);
    assert_int_equal(err.code, ERROR_NO_SPACE);
    assert_non_null(strstr(err.text, "2097151 bytes are needed"));
    assert_non_null(strstr(err.text, "d/big"));
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, archive_setup, archive_teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_faithful),  CASE(test_names_are_bytes), CASE(test_xattrs_and_acl),
        CASE(test_truncated), CASE(test_damaged),         CASE(test_not_a_tar),
        CASE(test_depth),     CASE(test_disk_full),
    };
    if (geteuid() != 0) {
        print_message("image_tar: needs root; skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
