/* SPDX-License-Identifier: Apache-2.0 */
/* The exact arguments of bwrap. */
#include "engine/bwrap.h"

#include "base/buffer.h"
#include "base/text.h"
#include "sys/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

static void check(const struct bwrap_plan *plan, const char *expected)
{
    const char *argv[BWRAP_ARGS_MAX];
    _cleanup_buffer_ struct buffer text = {0};
    size_t n = bwrap_argv(plan, argv);
    for (size_t i = 0; i < n; i++)
        buffer_printf(&text, "%s%s", i > 0 ? " " : "", argv[i]);
    assert_null(argv[n]);
    assert_string_equal(text.data, expected);
}

static void test_bare(void **state)
{
    const struct bwrap_plan plan = {0};
    check(&plan, "/usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --bind /sandbox / "
                 "--dev-bind /sandbox/dev /dev --proc /proc --cap-drop ALL --chdir / -- "
                 "/proc/self/fd/10 --inner");
}

static void test_full(void **state)
{
    const struct bwrap_plan plan = {
        .capabilities = caps_from_name("CHOWN") | caps_from_name("SETUID"),
        .n_filters = 2,
        .hidden = {{"/proc/acpi", true}, {"/proc/kcore", false}},
        .n_hidden = 2,
        .read_only = {"/proc/sys"},
        .n_read_only = 1,
    };
    check(&plan,
          "/usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --bind /sandbox / "
          "--dev-bind /sandbox/dev /dev --proc /proc --ro-bind /proc/sys /proc/sys "
          "--tmpfs /proc/acpi --remount-ro /proc/acpi "
          "--ro-bind /null /proc/kcore "
          "--cap-drop ALL --cap-add CAP_CHOWN --cap-add CAP_SETUID "
          "--add-seccomp-fd 12 --add-seccomp-fd 13 --chdir / -- /proc/self/fd/10 --inner");
}

/* The most that can be asked for has room. */
static void test_everything(void **state)
{
    const char *argv[BWRAP_ARGS_MAX];
    struct bwrap_plan plan = {.capabilities = UINT64_MAX, .n_filters = 4};
    for (size_t i = 0; i < BWRAP_PATHS; i++) {
        plan.hidden[i].path = plan.read_only[i] = "/proc/x";
        plan.hidden[i].is_directory = true;
    }
    plan.n_hidden = plan.n_read_only = BWRAP_PATHS;
    size_t n = bwrap_argv(&plan, argv);
    assert_in_range(n, 1, BWRAP_ARGS_MAX - 2);
    assert_string_equal(argv[n - 1], "--inner");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bare),
        cmocka_unit_test(test_full),
        cmocka_unit_test(test_everything),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
