/* SPDX-License-Identifier: Apache-2.0 */
/* Archives for the tests of unpacking. Runs as root; everything it reads it made itself. */
#include "image_archive.h"

#include "image/image.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

int archive_setup(void **state)
{
    struct fixture *f = calloc(1, sizeof(*f));
    const char *base = getenv("TMPDIR");
    if (!f)
        return -1;
    (void)snprintf(f->path, sizeof(f->path), "%s/image-tar-XXXXXX", base ? base : "/tmp");
    if (!mkdtemp(f->path))
        return -1;
    f->outside = open(f->path, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (mkdirat(f->outside, "target", 0700) < 0)
        return -1;
    f->target = openat(f->outside, "target", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    *state = f;
    return f->target < 0 ? -1 : 0;
}

int archive_teardown(void **state)
{
    struct fixture *f = *state;
    int r = tree_remove(AT_FDCWD, f->path);
    close(f->target);
    close(f->outside);
    free(f);
    return r;
}

size_t archive_make(const struct item *items, size_t n, int filter, char *out)
{
    size_t used = 0;
    struct archive *a = archive_write_new();
    assert_int_equal(archive_write_set_format_pax(a), ARCHIVE_OK);
    assert_int_equal(archive_write_add_filter(a, filter), ARCHIVE_OK);
    assert_int_equal(archive_write_open_memory(a, out, ARCHIVE_MAX, &used), ARCHIVE_OK);
    for (size_t i = 0; i < n; i++) {
        struct archive_entry *e = archive_entry_new();
        size_t length = items[i].content ? strlen(items[i].content) : 0;
        archive_entry_set_pathname(e, items[i].path);
        archive_entry_set_filetype(e, items[i].type ? items[i].type : AE_IFREG);
        archive_entry_set_perm(e, (mode_t)items[i].mode);
        archive_entry_set_mtime(e, 1000000, 123456789);
        if (items[i].type == 0)
            archive_entry_set_hardlink(e, items[i].link);
        else if (items[i].type == AE_IFLNK)
            archive_entry_set_symlink(e, items[i].link);
        else if (items[i].type == AE_IFREG)
            archive_entry_set_size(e, (la_int64_t)length);
        else if (items[i].type == AE_IFCHR)
            archive_entry_set_rdev(e, makedev(1, 7));
        /* a warning: the name is not UTF-8 */
        assert_true(archive_write_header(a, e) >= ARCHIVE_WARN);
        if (items[i].type == AE_IFREG && length > 0)
            assert_int_equal(archive_write_data(a, items[i].content, length), (int)length);
        archive_entry_free(e);
    }
    assert_int_equal(archive_write_free(a), ARCHIVE_OK);
    return used;
}

int archive_extract_bytes(const struct fixture *f, const char *data, size_t length,
                          struct error *err)
{
    _cleanup_close_ int fd = memfd_create("archive", MFD_CLOEXEC);
    assert_true(fd >= 0);
    assert_int_equal(write(fd, data, length), (ssize_t)length);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    return image_extract(fd, "test.tar", f->target, NULL, err);
}

int archive_extract(const struct fixture *f, const struct item *items, size_t n,
                    struct error *err)
{
    _cleanup_free_ char *data = malloc(ARCHIVE_MAX);
    assert_non_null(data);
    return archive_extract_bytes(f, data, archive_make(items, n, ARCHIVE_FILTER_NONE, data),
                                 err);
}

void archive_assert_content(const struct fixture *f, const char *path, const char *expected)
{
    char text[256] = "";
    _cleanup_close_ int fd = openat(f->target, path, O_RDONLY | O_NOFOLLOW | O_CLOEXEC);
    assert_true(fd >= 0);
    ssize_t n = read(fd, text, sizeof(text) - 1);
    assert_true(n >= 0);
    assert_string_equal(text, expected);
}
