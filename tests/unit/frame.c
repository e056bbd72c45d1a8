/* SPDX-License-Identifier: Apache-2.0 */
/* Varlink framing over a socketpair: messages in pieces, several at once, fds, limits, and the
 * peer's end. No privilege. */
#include "varlink/varlink.h"

#include "base/text.h"

#include <fcntl.h>
#include <pthread.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>

#include <cmocka.h>

struct pair {
    struct varlink varlink;
    int peer;
};

static int setup(void **state)
{
    int fds[2];
    struct pair *pair = calloc(1, sizeof(*pair));
    if (!pair || socket_pair(SOCK_STREAM, fds) < 0)
        return -1;
    pair->varlink.fd = fds[0];
    pair->peer = fds[1];
    *state = pair;
    return 0;
}

static int teardown(void **state)
{
    struct pair *pair = *state;
    varlink_clear(&pair->varlink);
    fd_close(pair->peer);
    free(pair);
    return 0;
}

static void put(const struct pair *pair, const char *bytes, size_t length)
{
    assert_int_equal(write(pair->peer, bytes, length), length);
}

static void expect(struct pair *pair, const char *text)
{
    const char *got = NULL;
    assert_int_equal(varlink_receive(&pair->varlink, false, &got), 1);
    assert_string_equal(got, text);
}

static void expect_nothing(struct pair *pair)
{
    const char *got = NULL;
    assert_int_equal(varlink_receive(&pair->varlink, false, &got), -EAGAIN);
    assert_null(got);
}

static void test_one(void **state)
{
    struct pair *pair = *state;
    expect_nothing(pair);
    put(pair, "{\"a\":1}", 8);
    expect(pair, "{\"a\":1}");
    expect_nothing(pair);
}

static void test_byte_by_byte(void **state)
{
    struct pair *pair = *state;
    static const char text[] = "{\"method\":\"x\"}";
    for (int round = 0; round < 3; round++)
        for (size_t i = 0; i < sizeof(text); i++) {
            expect_nothing(pair);
            put(pair, text + i, 1);
            if (i + 1 == sizeof(text))
                expect(pair, text);
        }
}

static void test_several_at_once(void **state)
{
    struct pair *pair = *state;
    put(pair, "one\0two\0\0thr", 12);
    expect(pair, "one");
    expect(pair, "two");
    expect(pair, "");
    expect_nothing(pair);
    put(pair, "ee\0four", 8);
    expect(pair, "three");
    expect(pair, "four");
    expect_nothing(pair);
}

/* Sizes around those of the block that is read at once. */
static void test_sizes(void **state)
{
    struct pair *pair = *state;
    static const size_t sizes[] = {8190, 8191, 8192, 8193, 16383, 16384, 40000};
    for (size_t i = 0; i < ELEMENTS(sizes); i++) {
        char *text = malloc(sizes[i] + 1);
        assert_non_null(text);
        memset(text, 'a' + (int)i, sizes[i]);
        text[sizes[i]] = '\0';
        put(pair, text, sizes[i] + 1);
        expect(pair, text);
        free(text);
    }
}

static void test_end(void **state)
{
    struct pair *pair = *state;
    const char *got = NULL;
    put(pair, "last\0half", 9);
    pair->peer = fd_close(pair->peer);
    expect(pair, "last");
    assert_int_equal(varlink_receive(&pair->varlink, false, &got), 0);
    assert_int_equal(varlink_receive(&pair->varlink, true, &got), 0);
    assert_null(got);
}

static void test_send(void **state)
{
    struct pair *pair = *state;
    char bytes[16];
    assert_int_equal(varlink_send(&pair->varlink, "{}x", 2, NULL, 0), 0);
    assert_int_equal(read(pair->peer, bytes, sizeof(bytes)), 3);
    assert_memory_equal(bytes, "{}", 3);
    pair->peer = fd_close(pair->peer);
    assert_int_equal(varlink_send(&pair->varlink, "{}", 2, NULL, 0), -EPIPE);
}

static void test_send_limits(void **state)
{
    struct pair *pair = *state;
    int fds[SOCKET_FDS_MAX + 1] = {0};
    char *huge = calloc(1, VARLINK_MESSAGE_MAX + 2);
    assert_non_null(huge);
    assert_int_equal(varlink_send(&pair->varlink, huge, VARLINK_MESSAGE_MAX + 1, NULL, 0),
                     -EMSGSIZE);
    free(huge);
    assert_int_equal(varlink_send(&pair->varlink, "{}", 2, fds, SOCKET_FDS_MAX + 1), -EMSGSIZE);
    char byte;
    assert_int_equal(recv(pair->peer, &byte, 1, MSG_DONTWAIT), -1);
}

static void test_fds(void **state)
{
    struct pair *pair = *state;
    int pipe_fds[2];
    assert_int_equal(pipe2(pipe_fds, O_CLOEXEC), 0);
    struct varlink peer = {.fd = pair->peer};
    assert_int_equal(varlink_send(&peer, "{}", 2, pipe_fds, 2), 0);
    expect(pair, "{}");
    assert_int_equal(pair->varlink.fds.n, 2);
    assert_int_equal(fcntl(pair->varlink.fds.fds[0], F_GETFD), FD_CLOEXEC);
    assert_int_equal(write(pair->varlink.fds.fds[1], "x", 1), 1);
    char byte = 0;
    assert_int_equal(read(pipe_fds[0], &byte, 1), 1);
    assert_int_equal(byte, 'x');
    fd_close(pipe_fds[0]);
    fd_close(pipe_fds[1]);
}

static int open_count(void)
{
    int n = 0;
    for (int fd = 0; fd < 1024; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void test_most_fds(void **state)
{
    struct pair *pair = *state;
    struct varlink peer = {.fd = pair->peer};
    int fds[SOCKET_FDS_MAX];
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        fds[i] = 0;
    int before = open_count();
    assert_int_equal(varlink_send(&peer, "{}", 2, fds, ELEMENTS(fds)), 0);
    expect(pair, "{}");
    assert_int_equal(pair->varlink.fds.n, SOCKET_FDS_MAX);
    /* one more than fits, in pieces of one message: refused, and everything is closed */
    assert_int_equal(socket_send(pair->peer, "a", 1, fds, 1), 0);
    const char *got = NULL;
    assert_int_equal(varlink_receive(&pair->varlink, false, &got), -EMSGSIZE);
    varlink_clear(&pair->varlink);
    assert_int_equal(open_count(), before - 1);
}

static void test_fds_of_an_unfinished_message_are_closed(void **state)
{
    struct pair *pair = *state;
    int fds[3] = {0, 1, 2};
    int before = open_count();
    assert_int_equal(socket_send(pair->peer, "abc", 3, fds, 3), 0);
    expect_nothing(pair);
    assert_int_equal(open_count(), before + 3);
    varlink_clear(&pair->varlink);
    assert_int_equal(open_count(), before - 1);
}

static void test_fds_stay_with_their_message(void **state)
{
    struct pair *pair = *state;
    struct varlink peer = {.fd = pair->peer};
    int fds[1] = {0};
    assert_int_equal(varlink_send(&peer, "one", 3, NULL, 0), 0);
    assert_int_equal(varlink_send(&peer, "two", 3, fds, 1), 0);
    expect(pair, "one");
    assert_int_equal(pair->varlink.fds.n, 0);
    expect(pair, "two");
    assert_int_equal(pair->varlink.fds.n, 1);
}

static void *send_much(void *data)
{
    const struct pair *pair = data;
    char block[65536];
    memset(block, 'a', sizeof(block));
    while (send(pair->peer, block, sizeof(block), MSG_NOSIGNAL) > 0)
        continue;
    return NULL;
}

/* A peer that never ends its message. */
static void test_endless(void **state)
{
    struct pair *pair = *state;
    const char *got = NULL;
    pthread_t thread;
    assert_int_equal(pthread_create(&thread, NULL, send_much, pair), 0);
    assert_int_equal(varlink_receive(&pair->varlink, true, &got), -EMSGSIZE);
    assert_true(pair->varlink.in.length <= VARLINK_MESSAGE_MAX + 8192);
    varlink_clear(&pair->varlink);
    assert_int_equal(pthread_join(thread, NULL), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_one, setup, teardown),
        cmocka_unit_test_setup_teardown(test_byte_by_byte, setup, teardown),
        cmocka_unit_test_setup_teardown(test_several_at_once, setup, teardown),
        cmocka_unit_test_setup_teardown(test_sizes, setup, teardown),
        cmocka_unit_test_setup_teardown(test_end, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send, setup, teardown),
        cmocka_unit_test_setup_teardown(test_send_limits, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_most_fds, setup, teardown),
        cmocka_unit_test_setup_teardown(test_fds_of_an_unfinished_message_are_closed, setup,
                                        teardown),
        cmocka_unit_test_setup_teardown(test_fds_stay_with_their_message, setup, teardown),
        cmocka_unit_test_setup_teardown(test_endless, setup, teardown),
    };
    return cmocka_run_group_tests_name("frame", tests, NULL, NULL);
}
