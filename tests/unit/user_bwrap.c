/* SPDX-License-Identifier: Apache-2.0 */
/* The exact arguments of bwrap for an ordinary user. */
#include "client/user_bwrap.h"

#include "base/buffer.h"
#include "base/text.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const struct user_bwrap *plan, const char *expected)
{
    static const char *argv[USER_BWRAP_ARGS_MAX];
    _cleanup_buffer_ struct buffer text = {0};
    size_t n = user_bwrap_argv(plan, argv);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&text, "%s%s", i > 0 ? " " : "", argv[i]);
    assert_null(argv[n]);
    assert_string_equal(text.data, expected);
}

static void test_bare(void **state)
{
    const struct original original = {.directory = "/roots/d"};
    const struct user_bwrap plan = {.original = &original, .hostname = "", .workdir = "/"};
    check(
        &plan,
        "bwrap --unshare-all --die-with-parent --ro-bind /roots/d / --proc /proc --dev /dev "
        "--tmpfs /tmp --cap-drop ALL --clearenv "
        "--setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin --setenv HOME /tmp --chdir / --");
}

static void test_full(void **state)
{
    const struct original original = {
        .directory = "d", .network = true, .n_binds = 2, .n_env = 1};
    const struct user_bwrap plan = {
        .original = &original,
        .hostname = "d",
        .workdir = "/srv",
        .terminal = "vt100",
        .has_home = true,
        .n_filters = 2,
        .halves = {{"a", "/a"}, {"--x", "/b"}, {"A", "b:c"}},
    };
    check(&plan,
          "bwrap --unshare-all --share-net --die-with-parent --ro-bind d / --proc /proc --dev "
          "/dev "
          "--tmpfs /tmp --tmpfs /home --bind a /a --bind --x /b --hostname d --cap-drop ALL "
          "--clearenv --setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin --setenv HOME /home "
          "--setenv TERM vt100 --setenv A b:c "
          "--add-seccomp-fd 12 --add-seccomp-fd 13 --chdir /srv --");
}

static void test_display(void **state)
{
    const struct original original = {.directory = "d", .n_env = 1};
    const struct display display = {
        .directory = "/run/user/5",
        .sockets = {{.source = "/tmp/s", .target = "/tmp/.X11-unix/X7700"}},
        .n_sockets = 1,
        .secrets = {{.name = "Xauthority"}},
        .n_secrets = 1,
        .keeper_fd = 9,
    };
    const struct user_bwrap plan = {
        .original = &original,
        .hostname = "",
        .workdir = "/",
        .halves = {{"DISPLAY", ":1"}},
        .display = &display,
        .targets = {"/run/user/5/Xauthority"},
        .env = {{"DISPLAY", ":7700"}},
        .n_env = 1,
    };
    /* -v comes later, and wins */
    check(&plan, "bwrap --unshare-all --die-with-parent --ro-bind d / --proc /proc --dev /dev "
                 "--tmpfs /tmp --tmpfs /run --perms 0700 --dir /run/user/5 "
                 "--ro-bind /tmp/s /tmp/.X11-unix/X7700 --perms 0600 --file 20 "
                 "/run/user/5/Xauthority --sync-fd 24 --cap-drop ALL --clearenv "
                 "--setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin --setenv HOME /tmp "
                 "--setenv DISPLAY :7700 "
                 "--setenv DISPLAY :1 --chdir / --");
}

/* A user namespace of bwrap's own would map nothing but its root. */
static void test_mapped(void **state)
{
    struct original original = {.directory = "/d"};
    const struct user_bwrap plan = {
        .original = &original, .hostname = "", .workdir = "/", .is_mapped = true};
    check(
        &plan,
        "bwrap --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup --unshare-net "
        "--die-with-parent --ro-bind /d / --proc /proc --dev /dev --tmpfs /tmp --cap-drop ALL "
        "--clearenv --setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin --setenv HOME /tmp "
        "--chdir / --");
    original.network = true;
    check(
        &plan,
        "bwrap --unshare-ipc --unshare-pid --unshare-uts --unshare-cgroup "
        "--die-with-parent --ro-bind /d / --proc /proc --dev /dev --tmpfs /tmp --cap-drop ALL "
        "--clearenv --setenv PATH /usr/local/bin:/usr/bin:/bin:/usr/sbin --setenv HOME /tmp "
        "--chdir / --");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_display),
        cmocka_unit_test(test_mapped),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
