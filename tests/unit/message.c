/* SPDX-License-Identifier: Apache-2.0 */
/* The last word of a peer that ends is heard, whatever it has left unread. */
#include "spec/message.h"

#include "base/cleanup.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>

static void test_last_word_of_who_left_something_unread(void **state)
{
    int pair[2];
    struct message message = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    assert_int_equal(socket_pair(SOCK_SEQPACKET, pair), 0);
    _cleanup_close_ int client = pair[0];
    assert_int_equal(message_send_simple(client, MESSAGE_SIGNAL, SIGCONT, 0), 0);
    assert_int_equal(message_send_simple(pair[1], MESSAGE_EXITED, EXIT_KIND_SIGNALED, SIGHUP),
                     0);
    fd_close(pair[1]);
    assert_int_equal(message_receive_to_end(client, &message, MSG_DONTWAIT, &fds), 1);
    assert_int_equal(message.type, MESSAGE_EXITED);
    assert_int_equal(message.detail, SIGHUP);
    assert_int_equal(message_receive_to_end(client, &message, MSG_DONTWAIT, &fds), 0);
}

static void test_the_error_comes_first(void **state)
{
    int pair[2];
    struct message message = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    assert_int_equal(socket_pair(SOCK_SEQPACKET, pair), 0);
    _cleanup_close_ int client = pair[0];
    assert_int_equal(message_send_simple(client, MESSAGE_SIGNAL, SIGCONT, 0), 0);
    fd_close(pair[1]);
    assert_int_equal(message_receive(client, &message, MSG_DONTWAIT, &fds), -ECONNRESET);
    assert_int_equal(message_receive(client, &message, MSG_DONTWAIT, &fds), 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_last_word_of_who_left_something_unread),
        cmocka_unit_test(test_the_error_comes_first),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
