/* SPDX-License-Identifier: Apache-2.0 */
/* The exact arguments and configuration of foreign engines. */
#include "engine/order.h"

#include "base/text.h"
#include "spec/message.h"
#include "sys/caps.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>
#include <string.h>

#include <cmocka.h>

static const struct engine_plan bare = {.program = "/usr/sbin/runc"};

static struct engine_plan full(void)
{
    return (struct engine_plan){
        .program = "/usr/bin/crun",
        .hostname = "box",
        .capabilities = caps_from_name("CHOWN") | caps_from_name("SETUID"),
        .chance = 0x0123456789abcdef,
        .hidden = {{"/proc/acpi", true}, {"/proc/kcore", false}},
        .n_hidden = 2,
        .read_only = {"/proc/sys"},
        .n_read_only = 1,
    };
}

static void check_args(order_make *make, const struct engine_plan *plan, const char *expected)
{
    struct engine_order order = {.args = {order.items, ORDER_ARGS_MAX, 0}};
    _cleanup_buffer_ struct buffer text = {0};
    assert_int_equal(make(plan, &order), 0);
    for (size_t i = 0; i < order.args.n; i++)
        buffer_printf(&text, "%s%s", i > 0 ? " " : "", order.items[i]);
    assert_null(order.items[order.args.n]);
    assert_string_equal(text.data, expected);
    buffer_clear(&order.text);
}

static void check_file(order_make *make, const struct engine_plan *plan, const char *path,
                       const char *expected)
{
    struct engine_order order = {.args = {order.items, ORDER_ARGS_MAX, 0}};
    assert_int_equal(make(plan, &order), 0);
    assert_string_equal(order.file, path);
    assert_string_equal(order.text.data, expected);
    buffer_clear(&order.text);
}

#define BWRAP_CAPABILITIES                                                                     \
    "--cap-add CAP_CHOWN --cap-add CAP_DAC_OVERRIDE --cap-add CAP_FOWNER "                     \
    "--cap-add CAP_FSETID --cap-add CAP_KILL --cap-add CAP_SETGID --cap-add CAP_SETUID "       \
    "--cap-add CAP_SETPCAP --cap-add CAP_NET_BIND_SERVICE --cap-add CAP_SYS_CHROOT "           \
    "--cap-add CAP_SYS_ADMIN "

static void test_bwrap(void **state)
{
    const struct engine_plan plan = full();
    check_args(bwrap_order, &bare,
               "/usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --bind /sandbox / "
               "--dev-bind /sandbox/dev /dev --proc /proc --cap-drop ALL " BWRAP_CAPABILITIES
               "--chdir / -- /proc/self/fd/3 --inner --mask");
    check_args(bwrap_order, &plan,
               "/usr/bin/bwrap --unshare-pid --as-pid-1 --die-with-parent --bind /sandbox / "
               "--dev-bind /sandbox/dev /dev --proc /proc "
               "--ro-bind /dev/null /proc/kcore "
               "--cap-drop ALL " BWRAP_CAPABILITIES
               "--chdir / -- /proc/self/fd/3 --inner --mask");
}

/* The most that can be asked for has room. */
static void test_everything(void **state)
{
    order_make *const makes[] = {bwrap_order, nspawn_order};
    struct engine_plan plan = {.capabilities = UINT64_MAX, .hostname = "box"};
    for (size_t i = 0; i < ORDER_PATHS; i++) {
        plan.hidden[i].path = plan.read_only[i] = "/proc/x";
        plan.hidden[i].is_directory = true;
    }
    plan.n_hidden = plan.n_read_only = ORDER_PATHS;
    for (size_t i = 0; i < ELEMENTS(makes); i++) {
        struct engine_order order = {.args = {order.items, ORDER_ARGS_MAX, 0}};
        assert_int_equal(makes[i](&plan, &order), 0);
        assert_in_range(order.args.n, 1, ORDER_ARGS_MAX - 2);
        assert_non_null(strstr(order.items[order.args.n - (makes[i] == bwrap_order ? 2 : 1)],
                               ENGINE_INNER_ARGUMENT));
        buffer_clear(&order.text);
    }
}

#define OCI_HEAD                                                                               \
    "{\n"                                                                                      \
    " \"ociVersion\": \"1.0.2\",\n"                                                            \
    " \"process\": {\n"                                                                        \
    "  \"terminal\": false,\n"                                                                 \
    "  \"user\": {\n"                                                                          \
    "   \"uid\": 0,\n"                                                                         \
    "   \"gid\": 0\n"                                                                          \
    "  },\n"                                                                                   \
    "  \"args\": [\n"                                                                          \
    "   \"/proc/self/fd/3\",\n"                                                                \
    "   \"--inner\"\n"                                                                         \
    "  ],\n"                                                                                   \
    "  \"cwd\": \"/\",\n"                                                                      \
    "  \"noNewPrivileges\": true,\n"                                                           \
    "  \"capabilities\": {\n"
#define OCI_BODY                                                                               \
    "  }\n"                                                                                    \
    " },\n"                                                                                    \
    " \"root\": {\n"                                                                           \
    "  \"path\": \"/sandbox\",\n"                                                              \
    "  \"readonly\": false\n"                                                                  \
    " },\n"                                                                                    \
    " \"mounts\": [\n"                                                                         \
    "  {\n"                                                                                    \
    "   \"destination\": \"/proc\",\n"                                                         \
    "   \"type\": \"proc\",\n"                                                                 \
    "   \"source\": \"proc\",\n"                                                               \
    "   \"options\": [\n"                                                                      \
    "    \"nosuid\",\n"                                                                        \
    "    \"nodev\",\n"                                                                         \
    "    \"noexec\"\n"                                                                         \
    "   ]\n"                                                                                   \
    "  },\n"                                                                                   \
    "  {\n"                                                                                    \
    "   \"destination\": \"/dev\",\n"                                                          \
    "   \"type\": \"bind\",\n"                                                                 \
    "   \"source\": \"/sandbox/dev\",\n"                                                       \
    "   \"options\": [\n"                                                                      \
    "    \"rbind\"\n"                                                                          \
    "   ]\n"                                                                                   \
    "  }\n"                                                                                    \
    " ],\n"                                                                                    \
    " \"linux\": {\n"                                                                          \
    "  \"namespaces\": [\n"                                                                    \
    "   {\n"                                                                                   \
    "    \"type\": \"pid\"\n"                                                                  \
    "   },\n"                                                                                  \
    "   {\n"                                                                                   \
    "    \"type\": \"mount\"\n"                                                                \
    "   }\n"                                                                                   \
    "  ],\n"

static void test_oci(void **state)
{
    const struct engine_plan plan = full();
    check_args(oci_order, &bare,
               "/usr/sbin/runc --root /run run --bundle /engine --preserve-fds 3 sandbox");
    check_args(oci_order, &plan,
               "/usr/bin/crun --root /run --cgroup-manager=disabled run --bundle /engine "
               "--preserve-fds 3 sandbox");
    check_file(oci_order, &bare, "/engine/config.json",
               OCI_HEAD
               "   \"bounding\": [],\n   \"effective\": [],\n   \"permitted\": []\n" OCI_BODY
               "  \"maskedPaths\": [],\n  \"readonlyPaths\": []\n }\n}");
#define NAMES(set, end)                                                                        \
    "   \"" set "\": [\n    \"CAP_CHOWN\",\n    \"CAP_SETUID\"\n   ]" end "\n"
    check_file(oci_order, &plan, "/engine/config.json",
               OCI_HEAD NAMES("bounding", ",") NAMES("effective", ",") NAMES("permitted", "")
                   OCI_BODY
               "  \"maskedPaths\": [\n   \"/proc/acpi\",\n   \"/proc/kcore\"\n  ],\n"
               "  \"readonlyPaths\": [\n   \"/proc/sys\"\n  ]\n }\n}");
}

#define LXC_UNCONFINED "lxc.apparmor.profile = unconfined\nlxc.no_new_privs = 1\n"
#define LXC_CONFINED                                                                           \
    "lxc.apparmor.profile = lxc-container-default-cgns\n"                                      \
    "lxc.apparmor.allow_incomplete = 1\n"
#define LXC_HEAD                                                                               \
    "lxc.rootfs.path = dir:/sandbox\n"                                                         \
    "lxc.namespace.clone = mnt pid\n"                                                          \
    "lxc.net.0.type = none\n"                                                                  \
    "lxc.autodev = 0\n"                                                                        \
    "lxc.console.path = none\n"                                                                \
    "lxc.mount.entry = /sandbox/dev/pts dev/pts none bind,optional 0 0\n"                      \
    "lxc.init.cmd = /proc/self/fd/3 --inner\n"
#define LXC_APART "lxc.namespace.share.net = /engine/net\n"
#define LXC_CAP   "lxc.cap.keep ="
#define LXC_PROC  "lxc.mount.entry = proc proc proc nosuid,nodev,noexec 0 0\n"

static void test_lxc(void **state)
{
    const struct engine_plan plan = full();
    check_args(lxc_order, &plan,
               "/usr/bin/lxc-start --foreground --quiet --lxcpath=/run "
               "--rcfile=/engine/lxc.conf --name=sandbox-0123456789abcdef");
    check_file(lxc_order, &bare, "/engine/lxc.conf",
               LXC_UNCONFINED LXC_HEAD LXC_APART LXC_CAP "\n" LXC_PROC);
    check_file(lxc_order_confined, &bare, "/engine/lxc.conf",
               LXC_CONFINED LXC_HEAD LXC_APART LXC_CAP "\n" LXC_PROC);
    struct engine_plan host = bare;
    host.host_network = true;
    check_file(lxc_order, &host, "/engine/lxc.conf",
               LXC_UNCONFINED LXC_HEAD LXC_CAP "\n" LXC_PROC);
    check_file(lxc_order, &plan, "/engine/lxc.conf",
               LXC_UNCONFINED LXC_HEAD LXC_APART LXC_CAP
               " chown setuid\n" LXC_PROC "lxc.mount.entry = proc/sys proc/sys none "
               "bind,ro,relative,nosuid,nodev,noexec 0 0\n"
               "lxc.mount.entry = none proc/acpi tmpfs "
               "ro,mode=0555,nosuid,nodev,noexec 0 0\n"
               "lxc.mount.entry = /dev/null proc/kcore none bind,ro 0 0\n");
}

static void test_nspawn(void **state)
{
    struct engine_plan plan = full();
    plan.capabilities |= caps_all() & ~caps_from_name("BPF");
    check_args(nspawn_order, &plan,
               "/usr/bin/systemd-nspawn --quiet --settings=no --register=no --keep-unit "
               "--directory=/sandbox --machine=sandbox --console=pipe "
               "--no-new-privileges=yes --system-call-filter=@known --resolv-conf=off "
               "--timezone=off --link-journal=no "
               "--bind=/view/dev:/dev --bind=/view/run:/run --hostname=box "
               "--capability=CAP_CHOWN,CAP_DAC_OVERRIDE,CAP_DAC_READ_SEARCH,CAP_FOWNER,"
               "CAP_FSETID,CAP_KILL,CAP_SETGID,CAP_SETUID,CAP_SETPCAP,CAP_LINUX_IMMUTABLE,"
               "CAP_NET_BIND_SERVICE,CAP_NET_BROADCAST,CAP_NET_ADMIN,CAP_NET_RAW,CAP_IPC_LOCK,"
               "CAP_IPC_OWNER,CAP_SYS_MODULE,CAP_SYS_RAWIO,CAP_SYS_CHROOT,CAP_SYS_PTRACE,"
               "CAP_SYS_PACCT,CAP_SYS_ADMIN,CAP_SYS_BOOT,CAP_SYS_NICE,CAP_SYS_RESOURCE,"
               "CAP_SYS_TIME,CAP_SYS_TTY_CONFIG,CAP_MKNOD,CAP_LEASE,CAP_AUDIT_WRITE,"
               "CAP_AUDIT_CONTROL,CAP_SETFCAP,CAP_MAC_OVERRIDE,CAP_MAC_ADMIN,CAP_SYSLOG,"
               "CAP_WAKE_ALARM,CAP_BLOCK_SUSPEND,CAP_AUDIT_READ,CAP_PERFMON,"
               "CAP_CHECKPOINT_RESTORE --drop-capability=CAP_BPF "
               "--tmpfs=/proc/acpi:ro,mode=0555 --bind-ro=/dev/null:/proc/kcore -- "
               "/proc/self/fd/3 --inner");
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_bwrap),  cmocka_unit_test(test_everything),
        cmocka_unit_test(test_oci),    cmocka_unit_test(test_lxc),
        cmocka_unit_test(test_nspawn),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
