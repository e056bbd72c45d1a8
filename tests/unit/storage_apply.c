/* SPDX-License-Identifier: Apache-2.0 */
/* Changes applied to a tree: whatever `from` is, `to` becomes. Needs root and a TMPDIR on a
 * file system with extended attributes; without root every test is skipped. */
#include "storage/apply.h"

#include "sys/fd.h"
#include "sys/tree.h"
#include "two_trees.h"

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#include <fcntl.h>
#include <linux/capability.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define LINKS 10000

/* Runs a shell script in the directory. */
static void shell(int directory, const char *script)
{
    int status = 0;
    pid_t pid = fork();
    if (pid == 0) {
        (void)umask(022);
        if (fchdir(directory) == 0)
            (void)execl("/bin/sh", "sh", "-ec", script, NULL);
        _exit(99);
    }
    assert_int_equal(waitpid(pid, &status, 0), pid);
    assert_int_equal(status, 0);
}

/* Applies what differs; then nothing does. */
static void apply(const struct fixture *f)
{
    struct error err = {0};
    _cleanup_changes_ struct change_list changes = {0};
    const struct diff_trees trees = {.now = f->from, .was = f->to};
    int r = diff_trees(&trees, NULL, change_list_add, &changes, &err);
    if (r == 0)
        r = changes_apply(&changes, f->from, f->to, 0, &err);
    if (r == 0)
        r = diff_is_any(&trees, NULL, &err);
    if (r != 0)
        fail_msg("%d %s", r, err.text);
}

static void test_everything(void **state)
{
    const struct fixture *f = *state;
    shell(f->to,
          "mkdir -p a/b gone kept; echo 1 > a/b/one; echo 2 > gone/two; echo 3 > kept/3; "
          "mkdir file; echo x > file/x; echo d > directory; ln -s x link; "
          "ln -s kept linked");
    shell(f->from, "mkdir -p a/b kept new/deep; echo one > a/b/one; chmod 4750 a/b/one; "
                   "chown 3:4 a/b; cp -p ../to/kept/3 kept; echo f > file; mkdir directory; "
                   "echo in > directory/in; ln -s elsewhere link; mkfifo new/fifo; "
                   "mknod new/null c 1 3; truncate -s 1M new/deep/hole; chmod 700 new; "
                   "mkdir linked; echo y > linked/y; touch -d @1500000000 new a");
    const struct fd_entry_path link = fd_entry_path(f->from, "link");
    assert_int_equal(lsetxattr(link.text, "trusted.colour", "red", 3, 0), 0);
    apply(f);
    shell(f->to, "test $(stat -c %u:%g:%a a/b a/b/one | tr '\\n' ,) = 3:4:755,0:0:4750,; "
                 "test $(stat -c %Y new a | tr '\\n' ,) = 1500000000,1500000000,; "
                 "test $(cat linked/y directory/in file | tr -d '\\n') = yinf; "
                 "test $(find . | wc -l) = $(find ../from | wc -l)");
}

/* No name is ours: whatever a user's file is called, it stays. */
static void test_names_of_users(void **state)
{
    const struct fixture *f = *state;
    shell(f->to, "echo mine > .isolate-new; mkdir d; mkdir d/.isolate-new");
    shell(f->from, "cp -rp ../to/.isolate-new ../to/d .; echo x > x; echo y > d/y; "
                   "mkdir e; echo z > e/.isolate-new; echo zz > e/z");
    apply(f);
    shell(f->to, "test $(cat .isolate-new x d/y e/.isolate-new e/z | tr -d '\\n') = minexyzzz; "
                 "test -d d/.isolate-new; test $(find . | wc -l) = 9");
}

/* An ACL as setxattr(2) takes it, which lets one more user read. */
struct acl {
    uint32_t version;
    struct {
        uint16_t tag;
        uint16_t permissions;
        uint32_t id;
    } entries[5];
};

static struct acl acl_of(uint32_t uid)
{
    return (struct acl){2, {{1, 6, -1U}, {2, 4, uid}, {4, 4, -1U}, {16, 4, -1U}, {32, 4, -1U}}};
}

/* What a directory gives to all that is made in it (its group, an ACL) is not in `to` where it
 * is not in `from`: apply() finds no difference. */
static void test_inherited(void **state)
{
    const struct acl acl = acl_of(1000);
    const struct fixture *f = *state;
    shell(f->to, "mkdir d; chgrp 7 d; chmod 2755 d; touch -d @1500000000 d");
    _cleanup_close_ int fd = dir_open_at(f->to, "d");
    assert_int_equal(fsetxattr(fd, "system.posix_acl_default", &acl, sizeof(acl), 0), 0);
    shell(f->from, "mkdir -m 711 d; echo f > d/f; chmod 640 d/f; mkfifo d/fifo; mkdir d/d; "
                   "echo f > d/d/f; ln -s x d/link; touch -h -d @1400000000 d/link");
    _cleanup_close_ int from = dir_open_at(f->from, "d");
    assert_int_equal(fsetxattr(from, "system.posix_acl_default", &acl, sizeof(acl), 0), 0);
    apply(f);
    shell(f->to, "test $(stat -c %u:%g:%a d d/f d/d | tr '\n' ,) = 0:0:711,0:0:640,0:0:755,; "
                 "test $(stat -c %g:%Y d/link) = 0:1400000000");
}

/* A changed file has the names that it has in `from`: those that were there, those that are
 * new, and those in directories that are made only later. */
static void test_links(void **state)
{
    const struct fixture *f = *state;
    shell(f->to, "mkdir kept z; echo 1 > kept/1; ln kept/1 z/1; echo o > other; ln other z/o; "
                 "mkdir z/was; echo w > z/was/w; touch -d @1500000000 kept");
    shell(f->from,
          "cp -rp ../to/kept ../to/other .; mkdir z; cp -p ../to/other z/o; "
          "ln kept/1 a; ln kept/1 z/1; ln a z/was; mkdir -p new/deep; ln a new/deep/a; "
          "mknod z/null c 1 3; ln z/null new/null; ln -s x new/link; "
          "ln new/link new/link-2; touch -d @1500000000 kept");
    apply(f);
    shell(f->to,
          "test $(stat -c %h a) = 5; test a -ef kept/1; test a -ef z/1; test a -ef z/was; "
          "test a -ef new/deep/a; test z/null -ef new/null; test $(cat a) = 1; "
          "test $(stat -c %i new/link) = $(stat -c %i new/link-2); "
          "test $(stat -c %Y kept) = 1500000000; "
          "test $(find . | wc -l) = $(find ../from | wc -l)");
}

/* A sandbox can make as many as it likes: with the square of their number this takes hours. */
static void test_many_links(void **state)
{
    const struct fixture *f = *state;
    char name[16];
    struct stat st;
    shell(f->from, "echo content > 0; mkdir d");
    for (unsigned i = 1; i < LINKS; i++) {
        (void)snprintf(name, sizeof(name), i % 2 ? "d/%u" : "%u", i);
        assert_int_equal(linkat(f->from, "0", f->from, name, 0), 0);
    }
    (void)alarm(120);
    apply(f);
    (void)alarm(0);
    assert_int_equal(fstatat(f->to, "d/1", &st, 0), 0);
    assert_int_equal(st.st_nlink, LINKS);
}

/* Of a clone whose files are stored with the ids of a range: owners, and what ACLs and file
 * capabilities name. */
static void test_shifted(void **state)
{
    const uint32_t first = 1000000;
    const struct fixture *f = *state;
    struct error err = {0};
    struct acl acl = acl_of(first + 1000);
    struct vfs_ns_cap_data capability = {
        .magic_etc = VFS_CAP_REVISION_3 | VFS_CAP_FLAGS_EFFECTIVE,
        .data = {{.permitted = 1 << CAP_NET_RAW}},
        .rootid = first,
    };
    struct vfs_ns_cap_data found = {0};
    _cleanup_changes_ struct change_list changes = {0};
    const struct diff_trees trees = {.now = f->from, .was = f->to};
    shell(f->from,
          "echo f > f; chown 1000000:1000033 f; echo g > g; chown 1000001 g; mkfifo p");
    const struct fd_entry_path file = fd_entry_path(f->from, "f");
    const struct fd_entry_path fifo = fd_entry_path(f->from, "p");
    assert_int_equal(
        lsetxattr(file.text, "security.capability", &capability, sizeof(capability), 0), 0);
    assert_int_equal(lsetxattr(fifo.text, "system.posix_acl_access", &acl, sizeof(acl), 0), 0);
    assert_int_equal(diff_trees(&trees, NULL, change_list_add, &changes, &err), 0);
    assert_int_equal(changes_apply(&changes, f->from, f->to, first, &err), 0);
    shell(f->to, "test $(stat -c %u:%g f) = 0:33; test $(stat -c %u g) = 1");
    const struct fd_entry_path to_file = fd_entry_path(f->to, "f");
    const struct fd_entry_path to_fifo = fd_entry_path(f->to, "p");
    assert_int_equal(lgetxattr(to_file.text, "security.capability", &found, sizeof(found)),
                     XATTR_CAPS_SZ_2);
    assert_int_equal(found.magic_etc, VFS_CAP_REVISION_2 | VFS_CAP_FLAGS_EFFECTIVE);
    assert_int_equal(found.data[0].permitted, 1 << CAP_NET_RAW);
    assert_int_equal(lgetxattr(to_fifo.text, "system.posix_acl_access", &acl, sizeof(acl)),
                     sizeof(acl));
    assert_int_equal(acl.entries[1].id, 1000);
    assert_int_equal(acl.entries[0].id, -1U);
}

#define CASE(test) cmocka_unit_test_setup_teardown(test, setup, teardown)

int main(void)
{
    const struct CMUnitTest tests[] = {
        CASE(test_everything), CASE(test_names_of_users), CASE(test_inherited),
        CASE(test_links),      CASE(test_many_links),     CASE(test_shifted),
    };
    if (geteuid() != 0) {
        print_message("storage_apply: needs root; skipped\n");
        return 77;
    }
    return cmocka_run_group_tests(tests, NULL, NULL);
}
