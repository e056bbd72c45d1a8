/* SPDX-License-Identifier: Apache-2.0 */
/* The start as isolated encodes and init decodes it: round trip, every truncation, random
 * damage. Inputs are copied to memory of their exact size, so that a sanitizer sees each byte
 * too far. */
#include "spec/start.h"

#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static struct start example(void)
{
    static const char *argv[] = {"sh", "", "a b", NULL};
    static const char *env[] = {"A=b", "C=", NULL};
    return (struct start){
        .flags = START_TTY | START_READ_ONLY,
        .uid = 1000,
        .gid = 1001,
        .umask = 022,
        .capabilities = 0x123456789abcdefULL,
        .timeout_ms = 90000,
        .cpu_time_ms = 80000,
        .n_cpus = 4,
        .ulimits = {1, {{7, 64, RLIMITS_UNLIMITED}}},
        .hostname = "host",
        .workdir = "/w",
        .user = "",
        .n_groups = 2,
        .groups = {4, 27},
        .n_argv = 3,
        .argv = argv,
        .n_env = 2,
        .env = env,
        .n_binds = 1,
        .binds = {{.target = "/t", .is_directory = 1, .read_only = 1}},
        .n_tmpfs = 1,
        .tmpfs = {{.target = "/x", .size_bytes = 4096}},
        .n_files = 1,
        .files = {{.path = "/etc/hosts", .content = "127.0.0.1 x\n", .is_symlink = 0}},
        .private_directory = "/run/user/0",
        .n_private = 1,
        .private_files = {{.name = "cookie", .hex = "00ff"}},
    };
}

static void encode(const struct start *start, struct buffer *ret)
{
    struct error err = {0};
    if (start_encode(start, ret, &err) != 0)
        fail_msg("%s", err.text);
}

/* Decodes a copy of exactly that length and touches every string. */
static int decode_exactly(const char *data, size_t length)
{
    struct start start = {0};
    struct error err = {0};
    size_t total = 0;
    char *copy = malloc(length ? length : 1);
    assert_non_null(copy);
    memcpy(copy, data, length);
    int r = start_decode(copy, length, &start, &err);
    if (r == 0) {
        total += strlen(start.hostname) + strlen(start.workdir) + strlen(start.user);
        for (uint32_t i = 0; i < start.n_argv; i++)
            total += strlen(start.argv[i]);
        assert_null(start.argv[start.n_argv]);
        for (uint32_t i = 0; i < start.n_env; i++)
            total += strlen(start.env[i]);
        for (uint32_t i = 0; i < start.n_binds; i++)
            total += strlen(start.binds[i].target);
        for (uint32_t i = 0; i < start.n_tmpfs; i++)
            total += strlen(start.tmpfs[i].target);
        for (uint32_t i = 0; i < start.n_files; i++)
            total += strlen(start.files[i].path) + strlen(start.files[i].content);
        total += strlen(start.private_directory);
        for (uint32_t i = 0; i < start.n_private; i++)
            total += strlen(start.private_files[i].name) + strlen(start.private_files[i].hex);
        assert_true(total <= length);
        assert_true(start.n_groups <= START_GROUPS);
    } else {
        assert_int_equal(r, -EPROTO);
        assert_int_equal(err.code, ERROR_PROTOCOL);
        assert_null(start.argv);
    }
    start_clear(&start);
    free(copy);
    return r;
}

static void test_round_trip(void **state)
{
    struct start in = example();
    struct error err = {0};
    _cleanup_buffer_ struct buffer buffer = {0};
    _cleanup_(start_clear) struct start out = {0};
    encode(&in, &buffer);
    assert_int_equal(start_decode(buffer.data, buffer.length, &out, &err), 0);
    assert_int_equal(out.flags, in.flags);
    assert_int_equal(out.uid, in.uid);
    assert_int_equal(out.gid, in.gid);
    assert_int_equal(out.umask, in.umask);
    assert_int_equal(out.capabilities, in.capabilities);
    assert_int_equal(out.timeout_ms, in.timeout_ms);
    assert_int_equal(out.cpu_time_ms, in.cpu_time_ms);
    assert_int_equal(out.n_cpus, in.n_cpus);
    assert_int_equal(out.ulimits.n, 1);
    assert_int_equal(out.ulimits.items[0].resource, 7);
    assert_int_equal(out.ulimits.items[0].soft, 64);
    assert_int_equal(out.ulimits.items[0].hard, RLIMITS_UNLIMITED);
    assert_string_equal(out.hostname, in.hostname);
    assert_string_equal(out.workdir, in.workdir);
    assert_string_equal(out.user, in.user);
    assert_int_equal(out.n_groups, 2);
    assert_int_equal(out.groups[1], 27);
    assert_int_equal(out.n_argv, 3);
    assert_string_equal(out.argv[1], "");
    assert_string_equal(out.argv[2], "a b");
    assert_null(out.argv[3]);
    assert_int_equal(out.n_env, 2);
    assert_string_equal(out.env[1], "C=");
    assert_int_equal(out.n_binds, 1);
    assert_string_equal(out.binds[0].target, "/t");
    assert_int_equal(out.binds[0].is_directory, 1);
    assert_int_equal(out.binds[0].read_only, 1);
    assert_int_equal(out.tmpfs[0].size_bytes, 4096);
    assert_string_equal(out.files[0].content, "127.0.0.1 x\n");
    assert_string_equal(out.private_directory, "/run/user/0");
    assert_int_equal(out.n_private, 1);
    assert_string_equal(out.private_files[0].name, "cookie");
    assert_string_equal(out.private_files[0].hex, "00ff");
}

static void test_encoding_is_canonical(void **state)
{
    struct start in = example();
    struct error err = {0};
    _cleanup_buffer_ struct buffer first = {0};
    _cleanup_buffer_ struct buffer second = {0};
    _cleanup_(start_clear) struct start out = {0};
    encode(&in, &first);
    assert_int_equal(start_decode(first.data, first.length, &out, &err), 0);
    encode(&out, &second);
    assert_int_equal(first.length, second.length);
    assert_memory_equal(first.data, second.data, first.length);
}

static void test_empty(void **state)
{
    struct start in = {0};
    struct error err = {0};
    _cleanup_buffer_ struct buffer buffer = {0};
    _cleanup_(start_clear) struct start out = {0};
    encode(&in, &buffer);
    assert_int_equal(start_decode(buffer.data, buffer.length, &out, &err), 0);
    assert_string_equal(out.hostname, "");
    assert_non_null(out.argv);
    assert_null(out.argv[0]);
}

static void test_truncations(void **state)
{
    struct start in = example();
    _cleanup_buffer_ struct buffer buffer = {0};
    encode(&in, &buffer);
    assert_int_equal(decode_exactly(buffer.data, buffer.length), 0);
    for (size_t length = 0; length < buffer.length; length++)
        if (decode_exactly(buffer.data, length) == 0)
            fail_msg("%zu of %zu bytes pass", length, buffer.length);
}

static void test_one_byte_more(void **state)
{
    struct start in = example();
    _cleanup_buffer_ struct buffer buffer = {0};
    encode(&in, &buffer);
    buffer_append_char(&buffer, '\0');
    assert_int_equal(decode_exactly(buffer.data, buffer.length), -EPROTO);
}

static void test_magic(void **state)
{
    struct start in = example();
    _cleanup_buffer_ struct buffer buffer = {0};
    encode(&in, &buffer);
    for (size_t i = 0; i < 4; i++) {
        buffer.data[i] ^= 1;
        assert_int_equal(decode_exactly(buffer.data, buffer.length), -EPROTO);
        buffer.data[i] ^= 1;
    }
}

static uint32_t next_random(uint32_t *seed)
{
    *seed ^= *seed << 13;
    *seed ^= *seed >> 17;
    *seed ^= *seed << 5;
    return *seed;
}

/* Bounded, and the same every time. */
static void test_damage(void **state)
{
    struct start in = example();
    uint32_t seed = 20260131;
    _cleanup_buffer_ struct buffer buffer = {0};
    encode(&in, &buffer);
    char *damaged = malloc(buffer.length);
    assert_non_null(damaged);
    for (int round = 0; round < 20000; round++) {
        static const unsigned char values[] = {0, 1, 0x7f, 0x80, 0xff, '/'};
        memcpy(damaged, buffer.data, buffer.length);
        uint32_t changes = 1 + next_random(&seed) % 6;
        for (uint32_t i = 0; i < changes; i++) {
            size_t at = 4 + next_random(&seed) % (buffer.length - 4);
            damaged[at] = (char)(next_random(&seed) % 2 ? values[next_random(&seed) % 6]
                                                        : next_random(&seed));
        }
        size_t length =
            round % 3 ? buffer.length : 4 + next_random(&seed) % (buffer.length - 3);
        (void)decode_exactly(damaged, length);
    }
    free(damaged);
}

/* Every single byte, with every value that matters most to counts. */
static void test_each_byte(void **state)
{
    struct start in = example();
    _cleanup_buffer_ struct buffer buffer = {0};
    encode(&in, &buffer);
    for (size_t at = 0; at < buffer.length; at++) {
        char saved = buffer.data[at];
        for (int value = 0; value < 256; value += value < 4 || value > 250 ? 1 : 41) {
            buffer.data[at] = (char)value;
            (void)decode_exactly(buffer.data, buffer.length);
        }
        buffer.data[at] = saved;
    }
}

static void expect_too_big(const struct start *start)
{
    struct error err = {0};
    _cleanup_buffer_ struct buffer buffer = {0};
    assert_int_equal(start_encode(start, &buffer, &err), -E2BIG);
    assert_int_equal(err.code, ERROR_INVALID);
}

static void test_counts_beyond_limits(void **state)
{
    struct start start = example();
    start.n_groups = START_GROUPS + 1;
    expect_too_big(&start);
    start = example();
    start.n_binds = START_BINDS + 1;
    expect_too_big(&start);
    start = example();
    start.n_tmpfs = START_TMPFS + 1;
    expect_too_big(&start);
    start = example();
    start.n_files = START_FILES + 1;
    expect_too_big(&start);
    start = example();
    start.n_argv = START_STRINGS + 1;
    expect_too_big(&start);
    start = example();
    start.n_env = UINT32_MAX;
    expect_too_big(&start);
}

static void test_size_limit(void **state)
{
    struct start start = {0};
    struct error err = {0};
    _cleanup_buffer_ struct buffer empty = {0};
    encode(&start, &empty);
    size_t room = START_MAX - empty.length;
    char *word = malloc(room + 2);
    assert_non_null(word);
    memset(word, 'a', room + 1);
    word[room] = '\0';
    start.workdir = word;
    _cleanup_buffer_ struct buffer largest = {0};
    assert_int_equal(start_encode(&start, &largest, &err), 0);
    assert_int_equal(largest.length, START_MAX);
    word[room] = 'a';
    word[room + 1] = '\0';
    expect_too_big(&start);
    free(word);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_round_trip),
        cmocka_unit_test(test_encoding_is_canonical),
        cmocka_unit_test(test_empty),
        cmocka_unit_test(test_truncations),
        cmocka_unit_test(test_one_byte_more),
        cmocka_unit_test(test_magic),
        cmocka_unit_test(test_damage),
        cmocka_unit_test(test_each_byte),
        cmocka_unit_test(test_counts_beyond_limits),
        cmocka_unit_test(test_size_limit),
    };
    return cmocka_run_group_tests_name("start", tests, NULL, NULL);
}
