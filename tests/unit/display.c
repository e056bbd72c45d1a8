/* SPDX-License-Identifier: Apache-2.0 */
/* What the variables of a display and of sound mean, what xauth prints, and X servers that
 * answer nonsense. No privilege. */
#include "base/text.h"
#include "client/sound.h"
#include "client/x11.h"
#include "client/x11_wire.h"
#include "client/xauth.h"
#include "sys/socket.h"

#include <limits.h>
#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include <cmocka.h>

static void test_x11_display(void **state)
{
    static const struct {
        const char *text;
        unsigned number;
        unsigned screen;
    } good[] = {
        {":0", 0, 0},         {":7.2", 7, 2},       {"unix:3", 3, 0},
        {"unix:11.1", 11, 1}, {":59535", 59535, 0},
    };
    static const char *const bad[] = {
        "",        ":",       ":x",     ":1x",    ":-1",  ":1.",
        ":1.x",    ":59536",  ":1.256", "host:0", "unix", "localhost:1",
        "/path:0", "[::1]:0", "::0",    "0",      ": 1",  ":99999999999",
    };
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct error err = {0};
        unsigned number = 1000;
        unsigned screen = 1000;
        if (x11_parse(good[i].text, &number, &screen, &err) != 0)
            fail_msg("%s: %s", good[i].text, err.text);
        assert_int_equal(number, good[i].number);
        assert_int_equal(screen, good[i].screen);
    }
    for (size_t i = 0; i < ELEMENTS(bad) + 1; i++) {
        struct error err = {0};
        unsigned number = 0;
        unsigned screen = 0;
        const char *text = i < ELEMENTS(bad) ? bad[i] : NULL;
        if (x11_parse(text, &number, &screen, &err) >= 0)
            fail_msg("accepted: %s", text);
        assert_non_null(text_after(err.text, "--x11: "));
    }
}

static void test_pulse_server(void **state)
{
    static const char *const good[][2] = {
        {"unix:/run/p", "/run/p"},
        {"/run/p", "/run/p"},
        {"{ab12}unix:/run/p", "/run/p"},
        {"{ab12}/run/p", "/run/p"},
        {"tcp:host unix:/run/p", "/run/p"},
        {"unix:/a unix:/b", "/a"},
        {"  /a  ", "/a"},
    };
    static const char *const none[] = {"tcp:host", "host", "unix:relative", "{ab",
                                       "{ab}",     " ",    "unix:"};
    char path[PATH_MAX];
    for (size_t i = 0; i < ELEMENTS(good); i++) {
        struct error err = {0};
        if (sound_parse_pulse(good[i][0], path, sizeof(path), &err) != 0)
            fail_msg("%s: %s", good[i][0], err.text);
        assert_string_equal(path, good[i][1]);
    }
    for (size_t i = 0; i < ELEMENTS(none); i++) {
        struct error err = {0};
        if (sound_parse_pulse(none[i], path, sizeof(path), &err) != 1)
            fail_msg("accepted: %s", none[i]);
    }
    assert_true(sound_parse_pulse("unix:/0123456789", path, 8, NULL) < 0);
}

#define NLIST                                                                                  \
    "0100 0002 766d 0002 3937 0012 4d49542d4d414749432d434f4f4b49452d31 0010 "                 \
    "00112233445566778899aabbccddeeff\n"

static void test_xauth(void **state)
{
    static const char *const none[] = {
        "",
        "xauth:  file x does not exist\n",
        "0100 0002 766d 0002 3937 0012 4d49542d4d414749432d434f4f4b49452d31 0010 0011\n",
        "0100 0002 766d 0002 3937 0013 58444d2d415554484f52495a4154494f4e2d31 0010 "
        "00112233445566778899aabbccddeeff\n",
        "0100 0002 766d 0002 3937 0012 4d49542d4d414749432d434f4f4b49452d31 0010 "
        "00112233445566778899aabbccddeeff00\n",
    };
    static const char entry[] =
        "\xff\xff\0\0\0\4"
        "7700\0\x12MIT-MAGIC-COOKIE-1\0\x10"
        "\0\x11\x22\x33\x44\x55\x66\x77\x88\x99\xaa\xbb\xcc\xdd\xee\xff";
    struct xauth_cookie cookie = {0};
    _cleanup_buffer_ struct buffer file = {0};
    for (size_t i = 0; i < ELEMENTS(none); i++)
        assert_false(xauth_parse(none[i], &cookie));
    assert_true(xauth_parse("xauth: a warning\n" NLIST "ffff 0000  0000\n", &cookie));
    xauth_entry(&cookie, "7700", &file);
    assert_int_equal(file.length, sizeof(entry) - 1);
    assert_memory_equal(file.data, entry, file.length);
}

/* What is made of a server's answer to the question for hosts. */
static int ask_hosts(const void *answer, size_t length)
{
    int pair[2];
    struct error err = {0};
    assert_int_equal(socket_pair(SOCK_STREAM, pair), 0);
    assert_int_equal(socket_send(pair[1], answer, length, NULL, 0), 0);
    (void)shutdown(pair[1], SHUT_WR);
    int r = x11_is_open(pair[0], -EBADF, &err);
    (void)close(pair[0]);
    (void)close(pair[1]);
    return r;
}

static void test_hosts(void **state)
{
    /* type, enabled, sequence, length, number; then family, -, length, address */
    static const uint16_t off[16] = {0x0001, 1};
    static const uint16_t local[18] = {0x0101, 1, 1, 0, 1, [16] = 252, 0};
    static const uint16_t named[20] = {0x0101, 1, 2, 0, 1, [16] = 5, 3};
    static const uint16_t error[16] = {0x0100, 1};
    static const uint16_t many[18] = {0x0101, 1, 1, 0, 60000, [16] = 5, 0};
    static const uint16_t long_one[18] = {0x0101, 1, 1, 0, 1, [16] = 5, 60000};
    static const uint16_t huge[18] = {0x0101, 1, 0xffff, 0xffff, 3, [16] = 5, 0};
    assert_int_equal(ask_hosts(off, sizeof(off)), 1);
    assert_int_equal(ask_hosts(local, sizeof(local)), 1);
    assert_int_equal(ask_hosts(named, sizeof(named)), 0);
    assert_true(ask_hosts(error, sizeof(error)) < 0);
    assert_true(ask_hosts(many, sizeof(many)) < 0);
    assert_true(ask_hosts(long_one, sizeof(long_one)) < 0);
    assert_true(ask_hosts(huge, sizeof(huge)) < 0);
    for (size_t length = 1; length < sizeof(named); length++)
        assert_true(ask_hosts(named, length) < 0);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_x11_display),
        cmocka_unit_test(test_pulse_server),
        cmocka_unit_test(test_xauth),
        cmocka_unit_test(test_hosts),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
