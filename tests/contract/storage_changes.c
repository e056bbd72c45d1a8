/* SPDX-License-Identifier: Apache-2.0 */
/* diff and commit: what is said of changes is exactly what was done, and what is committed is
 * exactly what was there. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

#define PROVIDED_TEXT "nameserver 127.0.0.53\n"

static const struct provided_file provided_files[] = {
    {"/etc/resolv.conf", PROVIDED_TEXT},
    {"/etc/hosts", "127.0.0.1 localhost\n"},
    {"/etc/localtime", "../usr/share/zoneinfo/UTC"},
};
static const struct provided_list provided = {provided_files, ELEMENTS(provided_files)};

/* one of every kind of change */
static const char changes[] =
    "echo more >> etc/passwd; "                   /* content */
    "chmod 640 etc/shadow; "                      /* mode only */
    "touch -d @1600000000.5 usr/lib/x-ray; "      /* time only */
    "chown 7:8 var/fifo; "                        /* owner only */
    "rm etc/absolute; echo file > etc/absolute; " /* link to file */
    "ln -sfn sudo usr/bin/link; "                 /* link's target */
    "ln usr/bin/tool usr/bin/tool-3; "            /* a link of a file of the template */
    "mkdir -p srv/www/a; echo x > srv/www/a/x; ln srv/www/a/x srv/www/a/y; mkfifo srv/pipe; "
    "ln -s nowhere srv/link; "
    "echo - > srv/www-1; " /* between srv/www and srv/www/a */
    "rm -r usr/lib/x; mkdir usr/lib/x; echo 2 > usr/lib/x/two; " /* replaced */
    "mv home/user home/me; "                                     /* a directory renamed */
    "echo n > home/me/new; rm home/me/notes; "
    "rm -r var/cache; "                 /* deleted with what is in it */
    "mv usr/bin/sudo usr/sudo; "        /* a file renamed */
    "rm -r etc/apt; echo f > etc/apt; " /* directory to file */
    "chmod 700 var/empty; ";

static const char changes_diff[] =
    "C /etc/absolute\nC /etc/apt\nC /etc/passwd\nC /etc/shadow\n"
    "A /home/me\nA /home/me/new\nD /home/user\n"
    "A /srv\nA /srv/link\nA /srv/pipe\nA /srv/www\nA /srv/www-1\nA /srv/www/a\nA /srv/www/a/x\n"
    "A /srv/www/a/y\n"
    "C /usr/bin/link\nD /usr/bin/sudo\nA /usr/bin/tool-3\n"
    "C /usr/lib/x-ray\nD /usr/lib/x/deep\nD /usr/lib/x/one\nC /usr/lib/x/two\n"
    "A /usr/sudo\nD /var/cache\nC /var/empty\nC /var/fifo\n";

static int commit(unsigned n, const char *name, const struct provided_list *list,
                  struct error *err)
{
    char clone[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE];
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    clone_name(n, clone);
    return fixture.storage.driver->commit(&fixture.storage, clone, list, &info, generation,
                                          err);
}

static void check_diff(unsigned n, const char *expected)
{
    _cleanup_buffer_ struct buffer diff = {0};
    clone_list_diff(n, &provided, &diff);
    assert_string_equal(diff.data, expected);
}

static void check_same_tree(unsigned a, unsigned b)
{
    _cleanup_buffer_ struct buffer of_a = {0};
    _cleanup_buffer_ struct buffer of_b = {0};
    clone_list_tree(a, &of_a);
    clone_list_tree(b, &of_b);
    assert_string_equal(of_a.data, of_b.data);
}

/* XFS shows ACLs to overlayfs a second time, as trusted.SGI_ACL_FILE with untranslated ids, and
 * overlayfs copies both up, in that order: an id in a template's ACL is lost in the first
 * change of the file (seen with Linux 6.18). */
static bool acls_survive_copy_up(void)
{
    return !streq(fixture.file_system, "xfs");
}

void diff_nothing(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    check_diff(0, "");
    /* copied up, and the same all the same */
    assert_int_equal(clone_shell(0,
                                 "chmod 600 etc/passwd; chmod 644 etc/passwd; touch a; rm a; "
                                 "mkdir usr/lib/x/b; rmdir usr/lib/x/b; chown 0 usr/bin/link"),
                     0);
    if (acls_survive_copy_up())
        assert_int_equal(clone_shell(0, "chown 0 etc/acl"), 0);
    check_diff(0, "");
}

void diff_exact(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, changes), 0);
    check_diff(0, changes_diff);
}

void diff_opaque_and_renamed(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    /* moved elsewhere, then below itself changed, then something else put in its place */
    assert_int_equal(clone_shell(0,
                                 "mv usr/lib/x var/moved; echo 1 > var/moved/one; "
                                 "rm var/moved/deep/three; mv var/moved/deep var/moved/deeper; "
                                 "mkdir usr/lib/x; echo 2 > usr/lib/x/two"),
                     0);
    check_diff(0, "D /usr/lib/x/deep\nD /usr/lib/x/one\nC /usr/lib/x/two\n"
                  "A /var/moved\nA /var/moved/deeper\nA /var/moved/one\nA /var/moved/two\n");
    /* two directories change places */
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    assert_int_equal(clone_shell(1, "mv var/cache t; mv var/empty var/cache; mv t var/empty"),
                     0);
    check_diff(1, "C /var/cache\nD /var/cache/old\nD /var/cache/older\n"
                  "C /var/empty\nA /var/empty/old\nA /var/empty/older\n");
    /* and back again: no change */
    assert_ok(clone_make(TEMPLATE, NULL, 2, NULL, &err));
    assert_int_equal(clone_shell(2, "mv usr/lib etc/lib; mv etc/lib/x etc/lib/y; "
                                    "mv etc/lib/y etc/lib/x; mv etc/lib usr/lib"),
                     0);
    check_diff(2, "");
    assert_ok(clone_make(TEMPLATE, NULL, 3, NULL, &err));
    assert_int_equal(
        clone_shell(3, "chmod 711 .; mv usr us; mv us/lib us/li; mv us/li/x us/li/z"), 0);
    check_diff(3, "C /\nA /us\nA /us/bin\nA /us/bin/link\nA /us/bin/sudo\nA /us/bin/tool\n"
                  "A /us/bin/tool-2\nA /us/li\nA /us/li/x-ray\nA /us/li/z\nA /us/li/z/deep\n"
                  "A /us/li/z/deep/three\nA /us/li/z/one\nA /us/li/z/two\nD /usr\n");
}

static void set_attribute(int root, const char *path, const char *name, const void *value,
                          size_t length)
{
    _cleanup_close_ int fd = openat(root, path, O_RDONLY | O_CLOEXEC);
    assert_true(fd >= 0);
    if (value)
        assert_int_equal(fsetxattr(fd, name, value, length, 0), 0);
    else
        assert_int_equal(fremovexattr(fd, name), 0);
}

/* Attributes count, and the ids in ACLs are those of the sandbox: translated like owners,
 * through diff, commit and a clone of another range. */
void diff_attributes(void **state)
{
    struct acl acl;
    _cleanup_buffer_ struct buffer before = {0};
    _cleanup_buffer_ struct buffer template = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    int mount = clone_mount(1);
    set_attribute(mount, "usr/lib/x/one", "user.colour", "tan", 3);
    set_attribute(mount, "usr/lib/x/two", "user.colour", "tan", 3);
    set_attribute(mount, "var/cache", "user.colour", NULL, 0);
    set_attribute(mount, "usr/bin", "user.colour", "tan", 3);
    acl_fill(&acl, clone_first_id(1) + 1000); /* what it has already */
    set_attribute(mount, "etc/acl", "system.posix_acl_access", &acl, sizeof(acl));
    acl_fill(&acl, clone_first_id(1) + 33);
    set_attribute(mount, "home/user/notes", "system.posix_acl_access", &acl, sizeof(acl));
    fd_close(mount);
    check_diff(1, "C /home/user/notes\nC /usr/bin\nC /usr/lib/x/one\nC /usr/lib/x/two\n"
                  "C /var/cache\n");
    clone_list_tree(1, &before);
    assert_ok(commit(1, TEMPLATE, NULL, &err));
    template_list_tree(TEMPLATE, NULL, &template);
    assert_string_equal(template.data, before.data);
    assert_ok(clone_make(TEMPLATE, NULL, 3, NULL, &err));
    check_same_tree(1, 3);
    if (acls_survive_copy_up())
        assert_int_equal(clone_shell(3, "chown 0 etc/acl; chown 1000 home/user/notes"), 0);
    check_diff(3, "");
}

static int count_differences(void *data, enum diff_kind kind, const char *path)
{
    (*(unsigned *)data)++;
    return 0;
}

/* Depth costs neither stack nor fds, and has a limit that is said. */
void diff_deep(void **state)
{
    struct error refusal = {0};
    unsigned count = 0;
    char name[CLONE_NAME_SIZE];
    static const char make[] = "name=$(printf %%0200d 0); i=0; while test $i -lt %d; do "
                               "mkdir $name; cd -P $name; i=$((i+1)); done";
    char script[256];
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    (void)snprintf(script, sizeof(script), make, 900);
    assert_int_equal(clone_shell(0, script), 0);
    assert_ok(fixture.storage.driver->diff(&fixture.storage, name, NULL, count_differences,
                                           &count, &err));
    assert_int_equal(count, 900);
    assert_ok(clone_make(TEMPLATE, NULL, 1, name, &err));
    (void)snprintf(script, sizeof(script), make, 1100);
    assert_int_equal(clone_shell(1, script), 0);
    assert_true(fixture.storage.driver->diff(&fixture.storage, name, NULL, count_differences,
                                             &count, &refusal) < 0);
    assert_non_null(strstr(refusal.text, "deeper than"));
}

void diff_provided(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "rm etc/resolv.conf; echo 'nameserver 127.0.0.53' > "
                                    "etc/resolv.conf; echo '127.0.0.1 localhost' > etc/hosts; "
                                    "ln -s ../usr/share/zoneinfo/UTC etc/localtime"),
                     0);
    check_diff(0, "");
    assert_int_equal(clone_shell(0,
                                 "rm etc/resolv.conf; echo x >> etc/hosts; rm etc/localtime; "
                                 "ln -s elsewhere etc/localtime"),
                     0);
    check_diff(0, "A /etc/hosts\nA /etc/localtime\nD /etc/resolv.conf\n");
}

void diff_of_root(void **state)
{
    struct error refusal = {0};
    assert_ok(clone_make(NULL, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, changes), 0);
    check_diff(0, changes_diff);
    assert_true(commit(0, "new", NULL, &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_UNSUPPORTED);
    assert_non_null(strstr(refusal.text, "template create"));
}

void commit_same_tree(void **state)
{
    struct stat a;
    struct stat b;
    _cleanup_buffer_ struct buffer before = {0};
    _cleanup_buffer_ struct buffer after = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 5, NULL, &err));
    assert_int_equal(clone_shell(0, changes), 0);
    clone_list_tree(0, &before);
    assert_ok(commit(0, TEMPLATE, NULL, &err));
    clone_list_tree(0, &after);
    assert_string_equal(after.data, before.data);
    check_diff(0, "");
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    check_same_tree(0, 1);
    check_diff(1, "");
    _cleanup_buffer_ struct buffer template = {0};
    template_list_tree(TEMPLATE, NULL, &template);
    assert_string_equal(template.data, before.data);
    check_diff(5, ""); /* still on the old generation */
    _cleanup_close_ int mount = clone_mount(1);
    assert_int_equal(fstatat(mount, "srv/www/a/x", &a, 0), 0);
    assert_int_equal(fstatat(mount, "srv/www/a/y", &b, 0), 0);
    assert_int_equal(a.st_ino, b.st_ino);
}

/* A stack of three whose layers are stored with three different ranges. */
void commit_twice(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 2, NULL, &err));
    assert_int_equal(clone_shell(2, "mv usr/lib/x usr/lib/y; rm etc/passwd; mkdir opt; "
                                    "echo a > opt/a; chown 5:6 opt/a; rm -r var/cache; "
                                    "mkdir var/cache; echo n > var/cache/n"),
                     0);
    assert_ok(commit(2, TEMPLATE, NULL, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 9, NULL, &err));
    assert_int_equal(clone_shell(9, "mv usr/lib/y usr/lib/z; echo back > etc/passwd; "
                                    "rm usr/lib/z/one; mv opt/a opt/b; rm -r home; "
                                    "echo m > var/cache/m"),
                     0);
    check_diff(9, "A /etc/passwd\nD /home\nD /opt/a\nA /opt/b\nD /usr/lib/y\nA /usr/lib/z\n"
                  "A /usr/lib/z/deep\nA /usr/lib/z/deep/three\nA /usr/lib/z/two\n"
                  "A /var/cache/m\n");
    assert_ok(commit(9, TEMPLATE, NULL, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 4, NULL, &err));
    check_same_tree(9, 4);
    check_diff(4, "");
    /* the first goes on from where it was: its own commit, not the other's */
    assert_int_equal(clone_shell(2, "test ! -e usr/lib/z; test -e usr/lib/y/one"), 0);
    assert_int_equal(
        clone_shell(4, "mv usr/lib/z/deep usr/lib/x; echo t > opt/t; rm var/cache/n"), 0);
    check_diff(4, "A /opt/t\nA /usr/lib/x\nA /usr/lib/x/three\nD /usr/lib/z/deep\n"
                  "D /var/cache/n\n");
    assert_int_equal(clone_shell(4, "test $(stat -c %u:%g opt/b) = 5:6"), 0);
    assert_ok(commit(4, TEMPLATE, NULL, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    check_same_tree(4, 0);
    assert_int_equal(clone_shell(0, "test $(stat -c %u:%g opt/b) = 5:6; echo x >> opt/b; "
                                    "test -e usr/lib/x/three; test ! -e var/cache/n"),
                     0);
}

void commit_new_template(void **state)
{
    struct storage *storage = &fixture.storage;
    _cleanup_clones_ struct clone_list clones = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, changes), 0);
    assert_ok(commit(0, "derived", NULL, &err));
    assert_ok(storage->driver->clones(storage, &clones, &err));
    assert_int_equal(clones.n, 1);
    assert_string_equal(clones.items[0].template_name, "derived");
    assert_ok(storage->driver->remove_template(storage, TEMPLATE, &err));
    assert_ok(storage->driver->collect(storage, &err));
    assert_ok(clone_make("derived", NULL, 1, NULL, &err));
    check_same_tree(0, 1);
}

void commit_refused(void **state)
{
    char generation[GENERATION_SIZE];
    struct error refusal = {0};
    assert_ok(template_make("other", generation, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "echo x > new"), 0);
    assert_true(commit(0, "other", NULL, &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_EXISTS);
    assert_non_null(strstr(refusal.text, "other"));
    assert_non_null(strstr(refusal.text, TEMPLATE));
    assert_true(commit(77, TEMPLATE, NULL, &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_NOT_FOUND);
    check_diff(0, "A /new\n");
}

/* A clone may be committed again and again; the end, where there is one, is announced, and what
 * is there works. */
void commit_limit(void **state)
{
    bool has_layers = streq(fixture.storage.driver->name, "overlay");
    struct error refusal = {0};
    char script[80];
    unsigned n = 1;
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    for (; n < (has_layers ? 1000 : 128); n++) {
        (void)snprintf(script, sizeof(script), "echo %u > tick", n);
        if (n % 16 == 0)
            (void)snprintf(script, sizeof(script), "echo %u > etc/passwd; touch n-%u", n, n);
        assert_int_equal(clone_shell(0, script), 0);
        if (commit(0, TEMPLATE, NULL, &refusal) < 0)
            break;
    }
    if (has_layers) {
        assert_int_equal(refusal.code, ERROR_NO_SPACE);
        assert_non_null(strstr(refusal.text, "layers"));
    } else if (refusal.code != ERROR_NONE) {
        fail_msg("%s", refusal.text);
    }
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    assert_int_equal(clone_shell(1, "grep -qx 112 etc/passwd; test -e n-16; test -e n-112; "
                                    "test -e usr/lib/x/one; echo x > etc/passwd"),
                     0);
    check_diff(1, "C /etc/passwd\n");
}

/* No change, no generation, but for a new template. */
void commit_nothing(void **state)
{
    struct storage *storage = &fixture.storage;
    struct template_info info = {.name = TEMPLATE, .source = "test"};
    char name[CLONE_NAME_SIZE];
    char generation[GENERATION_SIZE] = "";
    _cleanup_generations_ struct generation_list list = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    /* what isolate wrote is no change, nor is what was changed back */
    assert_int_equal(clone_shell(0, "echo '127.0.0.1 localhost' > etc/hosts; mv usr us; "
                                    "mv us usr; chmod 700 etc/passwd; chmod 644 etc/passwd; "
                                    "touch gone; rm gone"),
                     0);
    assert_int_equal(storage->driver->commit(storage, name, &provided, &info, generation, NULL),
                     1);
    assert_ok(storage->driver->generations(storage, TEMPLATE, &list, &err));
    assert_int_equal(list.n, 1);
    assert_string_equal(generation, list.items[0].id);
    assert_ok(commit(0, "new", &provided, &err));
    assert_int_equal(clone_shell(0, "echo x > x"), 0);
    assert_int_equal(commit(0, "new", &provided, NULL), 0);
    assert_int_equal(commit(0, "new", &provided, NULL), 1);
}

void commit_volatile(void **state)
{
    fixture.is_volatile = true;
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, changes), 0);
    check_diff(0, changes_diff);
    assert_ok(commit(0, TEMPLATE, NULL, &err));
    check_diff(0, "");
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    check_same_tree(0, 1);
}

void commit_provided(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "rm etc/resolv.conf; echo 'nameserver 127.0.0.53' > "
                                    "etc/resolv.conf; echo '127.0.0.1 localhost' > etc/hosts; "
                                    "ln -s mine etc/localtime; echo n > etc/new"),
                     0);
    assert_ok(commit(0, TEMPLATE, &provided, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    assert_int_equal(clone_shell(1, "grep -q 192.0.2.1 etc/resolv.conf; test ! -e etc/hosts; "
                                    "test $(readlink etc/localtime) = mine; test -e etc/new"),
                     0);
}
