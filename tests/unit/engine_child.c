/* SPDX-License-Identifier: Apache-2.0 */
/* What init hears of a foreign engine's inner init, whatever came in between. */
#include "init/engine.h"

#include "sys/process.h"
#include "sys/socket.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <signal.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

static struct engine_child child;
static int inner_fd;

static int set_up(void **state)
{
    int pair[2];
    if (socket_pair(SOCK_SEQPACKET, pair) < 0)
        return -1;
    child = (struct engine_child){.pid = 1, .socket_fd = pair[0]};
    inner_fd = pair[1];
    return 0;
}

static int tear_down(void **state)
{
    child.socket_fd = fd_close(child.socket_fd);
    inner_fd = fd_close(inner_fd);
    return 0;
}

static void tell_exited(uint32_t serial, int code)
{
    const struct message exited = {
        .type = MESSAGE_EXITED, .value = EXIT_KIND_EXITED, .detail = code, .serial = serial};
    assert_int_equal(message_send(inner_fd, &exited, NULL, 0), 0);
}

static void test_order_of_ends(void **state)
{
    struct message heard = {0};
    assert_false(engine_ended(&child, &heard));
    tell_exited(7, 0);
    tell_exited(0, 42);
    assert_true(engine_ended(&child, &heard));
    assert_int_equal(heard.serial, 7);
    assert_true(engine_ended(&child, &heard));
    assert_int_equal(heard.serial, 0);
    assert_int_equal(engine_status(&heard), 42 << 8);
    assert_false(engine_ended(&child, &heard));
    inner_fd = fd_close(inner_fd);
    assert_false(engine_ended(&child, &heard));
    assert_true(child.socket_fd < 0);
}

/* The kernel tells of an order that was never read before it gives what was said. */
static void test_end_with_an_order_unread(void **state)
{
    struct message heard = {0};
    tell_exited(0, 42);
    engine_signal_all(&child, SIGTERM);
    inner_fd = fd_close(inner_fd);
    assert_true(engine_ended(&child, &heard));
    assert_int_equal(engine_status(&heard), 42 << 8);
}

/* Its exec was answered with an error: it has nobody. */
static void test_command_that_was_given_up(void **state)
{
    int status = 0;
    int pidfd = -EBADF;
    struct message heard = {0};
    const struct message started = {.type = MESSAGE_STARTED, .serial = 3};
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid == 0) {
        (void)pause();
        _exit(0);
    }
    assert_true(pid > 0);
    assert_int_equal(message_send(inner_fd, &started, &pidfd, 1), 0);
    tell_exited(0, 42);
    bool ended = engine_ended(&child, &heard);
    bool gone = pidfd_wait(pidfd, 5000) == 1;
    (void)kill(pid, SIGKILL);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    fd_close(pidfd);
    assert_true(ended);
    assert_int_equal(heard.serial, 0);
    assert_true(gone);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(test_order_of_ends, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_end_with_an_order_unread, set_up, tear_down),
        cmocka_unit_test_setup_teardown(test_command_that_was_given_up, set_up, tear_down),
    };
    return cmocka_run_group_tests_name("engine_child", tests, NULL, NULL);
}
