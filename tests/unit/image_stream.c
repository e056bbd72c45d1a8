/* SPDX-License-Identifier: Apache-2.0 */
/* Streams: what was put in comes out, and nothing that is damaged does. Pure: needs no
 * privilege. */
#include "image/stream.h"

#include "base/text.h"
#include "sys/fd.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <unistd.h>

#define HEADER "{\"driver\":\"overlay\"}"

/* A stream of two paths and n bytes of archive: an open memfd. */
static int make(size_t n)
{
    struct error err = {0};
    struct stream_writer *writer = malloc(sizeof(*writer));
    char *bytes = malloc(n + 1);
    int fd = memfd_create("stream", MFD_CLOEXEC);
    assert_true(fd >= 0 && writer && bytes);
    struct sink_fd out = sink_fd(fd, "write");
    memset(bytes, 'b', n);
    assert_int_equal(stream_begin(writer, &out.sink, HEADER, &err), 0);
    assert_int_equal(stream_put_path(writer, STREAM_GONE, "etc/gone", &err), 0);
    assert_int_equal(stream_put_path(writer, STREAM_REPLACED, "etc/other", &err), 0);
    /* in pieces that fit into no block */
    for (size_t at = 0; at < n; at += 1000)
        assert_int_equal(
            sink_put(&writer->sink, bytes + at, n - at < 1000 ? n - at : 1000, &err), 0);
    assert_int_equal(stream_end(writer, &err), 0);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    free(bytes);
    free(writer);
    return fd;
}

/* Reads a stream to its end: how many bytes of archive, or -errno. */
static int64_t read_all(int fd, bool resumed, struct error *err)
{
    struct stream_reader *reader = malloc(sizeof(*reader));
    int64_t bytes = 0;
    bool good = true;
    assert_non_null(reader);
    stream_open(reader, fd);
    int r = stream_read_header(reader, err);
    if (r == 0 && resumed) {
        _cleanup_free_ char *header = strdup(reader->block);
        stream_open(reader, fd);
        stream_resume(reader, header);
    }
    while (r >= 0 && r != STREAM_END) {
        r = stream_read(reader, err);
        if (r == STREAM_TAR)
            bytes += (int64_t)reader->length;
        if (r == STREAM_GONE)
            good = good && streq(reader->block, "etc/gone");
        if (r == STREAM_REPLACED)
            good = good && streq(reader->block, "etc/other");
    }
    free(reader);
    assert_true(good || r < 0);
    return r < 0 ? r : bytes;
}

static void test_there_and_back(void **state)
{
    static const size_t sizes[] = {0,
                                   1,
                                   STREAM_RECORD_MAX - 1,
                                   STREAM_RECORD_MAX,
                                   STREAM_RECORD_MAX + 1,
                                   3 * STREAM_RECORD_MAX + 7};
    for (size_t i = 0; i < ELEMENTS(sizes); i++)
        for (int resumed = 0; resumed < 2; resumed++) {
            struct error err = {0};
            _cleanup_close_ int fd = make(sizes[i]);
            assert_int_equal(read_all(fd, resumed, &err), sizes[i]);
        }
}

/* Each byte matters, and each that is missing. */
static void test_damage(void **state)
{
    struct stat st;
    _cleanup_close_ int fd = make(300);
    assert_int_equal(fstat(fd, &st), 0);
    for (off_t at = 0; at < st.st_size; at++) {
        struct error err = {0};
        char byte = 0;
        assert_int_equal(pread(fd, &byte, 1, at), 1);
        char other = (char)(byte ^ 1);
        assert_int_equal(pwrite(fd, &other, 1, at), 1);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        if (read_all(fd, false, &err) != -EBADMSG)
            fail_msg("byte %lld may be another one", (long long)at);
        assert_int_equal(err.code, ERROR_INVALID);
        assert_int_equal(pwrite(fd, &byte, 1, at), 1);
    }
    while (st.st_size-- > 0) {
        struct error err = {0};
        assert_int_equal(ftruncate(fd, st.st_size), 0);
        assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
        assert_int_equal(read_all(fd, false, &err), -EBADMSG);
    }
}

static void test_what_follows(void **state)
{
    struct error err = {0};
    _cleanup_close_ int fd = make(1);
    assert_int_equal(lseek(fd, 0, SEEK_END) > 0, 1);
    assert_int_equal(write(fd, "x", 1), 1);
    assert_int_equal(lseek(fd, 0, SEEK_SET), 0);
    assert_int_equal(read_all(fd, false, &err), -EBADMSG);
}

/* The header that was read elsewhere is part of the digest. */
static void test_another_header(void **state)
{
    struct error err = {0};
    struct stream_reader *reader = malloc(sizeof(*reader));
    _cleanup_close_ int fd = make(10);
    assert_non_null(reader);
    stream_open(reader, fd);
    assert_int_equal(stream_read_header(reader, &err), 0);
    stream_open(reader, fd);
    stream_resume(reader, "{\"driver\":\"btrfs\"}");
    int r = 0;
    do
        r = stream_read(reader, &err);
    while (r > 0 && r != STREAM_END);
    assert_int_equal(r, -EBADMSG);
    free(reader);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_there_and_back),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_what_follows),
        cmocka_unit_test(test_another_header),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
