/* SPDX-License-Identifier: Apache-2.0 */
/* Clones: apart from each other, owned by the right ids, made and destroyed at any moment. */
#include "storage_fixture.h"

#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/statvfs.h>

static int destroy(unsigned n, struct error *err)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    return fixture.storage.driver->destroy(&fixture.storage, name, err);
}

void clones_isolated(void **state)
{
    _cleanup_buffer_ struct buffer before = {0};
    _cleanup_buffer_ struct buffer fresh = {0};
    _cleanup_buffer_ struct buffer other = {0};
    _cleanup_buffer_ struct buffer after = {0};
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    template_list_tree(TEMPLATE, NULL, &before);
    clone_list_tree(1, &fresh);
    assert_string_equal(fresh.data, before.data);
    assert_int_equal(clone_shell(0, "echo changed > etc/passwd; rm -r usr/lib; mv home house; "
                                    "chmod 700 var; touch new; rm usr/bin/tool"),
                     0);
    clone_list_tree(1, &other);
    template_list_tree(TEMPLATE, NULL, &after);
    assert_string_equal(other.data, before.data);
    assert_string_equal(after.data, before.data);
    assert_int_equal(
        clone_shell(0, "grep -qx changed etc/passwd; test ! -e usr/lib; test -e new"), 0);
}

void clone_ids_and_flags(void **state)
{
    struct stat st;
    struct statvfs vfs;
    struct stat dir;
    assert_ok(clone_make(TEMPLATE, NULL, 3, NULL, &err));
    assert_int_equal(clone_shell(3, "touch mine; mkdir home/new; chown 1000:1001 home/new; "
                                    "test -O etc/shadow; chmod 4755 mine"),
                     0);
    _cleanup_close_ int mount = clone_mount(3);
    assert_int_equal(fstatat(mount, "mine", &st, 0), 0);
    assert_int_equal(st.st_uid, clone_first_id(3));
    assert_int_equal(st.st_gid, clone_first_id(3));
    assert_int_equal(fstatat(mount, "home/new", &st, 0), 0);
    assert_int_equal(st.st_uid, clone_first_id(3) + 1000);
    assert_int_equal(st.st_gid, clone_first_id(3) + 1001);
    assert_int_equal(fstatat(mount, "home/user/notes", &st, 0), 0);
    assert_int_equal(st.st_uid, clone_first_id(3) + 1000);
    assert_int_equal(fstatvfs(mount, &vfs), 0);
    assert_int_equal(vfs.f_flag & (ST_NOSUID | ST_NODEV), ST_NOSUID | ST_NODEV);
    assert_int_equal(vfs.f_flag & ST_RDONLY, 0);
    assert_int_equal(openat(mount, "var/null", O_RDONLY | O_CLOEXEC), -1);
    assert_int_equal(errno, EACCES);
    assert_int_equal(fstatat(fixture.storage.dir_fd, "clones", &dir, 0), 0);
    assert_int_equal(dir.st_mode & 07777, 0700);
    if (!has(STORAGE_DISPOSABLE))
        assert_int_equal(clone_shell(3, "rm -r mine home/new"), 0);
}

/* What the pool makes: it need not survive a power cut and is mounted only once. */
void clone_volatile(void **state)
{
    fixture.is_volatile = true;
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "echo x > new; grep -q x new; rm new; ls -R . > /dev/null"),
                     0);
}

#define VIEWER 4321

/* Two viewers and the sandbox, one after the other: each finds what those before it have
 * written, as its own or as nobody's. */
static void view_in_turns(unsigned n)
{
    assert_int_equal(
        clone_view_shell(n, VIEWER,
                         "test -O etc/shadow; echo v > etc/shadow; mkdir new; echo v > new/f; "
                         "! test -w home/user/notes; ! chown 1000 new/f; chmod 4755 new/f; "
                         "ln etc/shadow new/link; rm usr/bin/tool; ! ls lib/"),
        0);
    assert_int_equal(clone_shell(n, "test -O new/f; test $(stat -c %u:%g:%a new/f) = 0:0:4755; "
                                    "grep -qx v etc/shadow; test etc/shadow -ef new/link; "
                                    "test ! -e usr/bin/tool; chown 1000:1001 new/f; "
                                    "echo s > new/g; ln -s etc/shadow new/symlink"),
                     0);
    assert_int_equal(
        clone_view_shell(n, 0,
                         "test $(stat -c %u:%g new/f) = 1000:1001; grep -qx s new/g; "
                         "chown 7:8 new/g; ! cat new/symlink; test -h new/symlink"),
        0);
    assert_int_equal(clone_view_shell(n, VIEWER, "! test -O new/f; grep -qx s new/g"), 0);
    assert_int_equal(clone_shell(n, "test $(stat -c %u:%g new/g) = 7:8"), 0);
}

void clone_viewed(void **state)
{
    char name[CLONE_NAME_SIZE];
    int mount = -EBADF;
    struct error refused = {0};
    const struct storage_viewer viewer = {VIEWER, VIEWER, clone_first_id(0)};
    assert_ok(clone_make(has(STORAGE_TEMPLATES) ? TEMPLATE : NULL, NULL, 0, name, &err));
    if (!has(STORAGE_VIEWS) || fixture.shares_ids) {
        int r = storage_view(&fixture.storage, name, &viewer, -EBADF, &mount, &refused);
        assert_int_equal(r, -EOPNOTSUPP);
        assert_non_null(strstr(refused.text, "to hooks"));
        return;
    }
    view_in_turns(0);
    fixture.is_volatile = true;
    assert_ok(clone_make(TEMPLATE, NULL, 1, NULL, &err));
    view_in_turns(1);
}

/* Whatever a clone was made from, where there are many: it is the template's tree. */
static void check_alike(unsigned n)
{
    _cleanup_buffer_ struct buffer of_clone = {0};
    _cleanup_buffer_ struct buffer of_template = {0};
    _cleanup_buffer_ struct buffer diff = {0};
    if (!has(STORAGE_TEMPLATES) || !has(STORAGE_DIFF))
        return;
    clone_list_tree(n, &of_clone);
    template_list_tree(TEMPLATE, NULL, &of_template);
    assert_string_equal(of_clone.data, of_template.data);
    clone_list_diff(n, NULL, &diff);
    assert_int_equal(diff.length, 0);
}

void clones_many(void **state)
{
    /* fewer where each command takes a quarter of a second */
    const char *wanted = getenv("ISOLATE_CONTRACT_CLONES");
    const unsigned many = wanted ? (unsigned)atoi(wanted) : 200;
    struct storage *storage = &fixture.storage;
    _cleanup_clones_ struct clone_list list = {0};
    for (unsigned n = 0; n < many; n++)
        assert_ok(clone_make(TEMPLATE, NULL, n, NULL, &err));
    assert_true(clone_make(TEMPLATE, NULL, 7, NULL, NULL) < 0);
    assert_ok(storage->driver->clones(storage, &list, &err));
    assert_int_equal(list.n, many);
    for (unsigned n = 0; n < many; n += 50)
        assert_int_equal(clone_shell(n, "test -f etc/passwd"), 0);
    for (unsigned n = 3; n < many; n += 15)
        check_alike(n);
    for (unsigned n = 0; n < many; n++)
        assert_ok(destroy(n, &err));
    clone_list_clear(&list);
    assert_ok(storage->driver->clones(storage, &list, &err));
    assert_int_equal(list.n, 0);
}

/* Who owns a directory above a one-off root can put another one in its place. */
void clone_root_swapped(void **state)
{
    const struct storage_driver *driver = fixture.storage.driver;
    struct error refusal = {0};
    char name[CLONE_NAME_SIZE];
    int mount = -EBADF;
    _cleanup_close_ int root = open(fixture.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    assert_ok(clone_make(NULL, NULL, 0, name, &err));
    const struct id_map map = {0, clone_first_id(0), USERNS_RANGE};
    _cleanup_close_ int userns = userns_new(&map, 1, &map, 1);
    assert_int_equal(renameat(fixture.state_fd, "root", fixture.state_fd, "moved"), 0);
    assert_int_equal(mkdirat(fixture.state_fd, "root", 0755), 0);
    /* the fd is what the caller meant, wherever it is now */
    int r = driver->mount(&fixture.storage, name, userns, root, &mount, &refusal);
    bool is_first = r == 0 && faccessat(mount, "etc/passwd", F_OK, 0) == 0;
    fd_close(mount);
    int by_path = driver->mount(&fixture.storage, name, userns, -EBADF, &mount, &refusal);
    int diff = has(STORAGE_DIFF) ? driver->diff(&fixture.storage, name, NULL, NULL, NULL, NULL)
                                 : -ESTALE;
    assert_int_equal(unlinkat(fixture.state_fd, "root", AT_REMOVEDIR), 0);
    assert_int_equal(renameat(fixture.state_fd, "moved", fixture.state_fd, "root"), 0);
    assert_int_equal(r, 0);
    assert_true(is_first);
    assert_int_equal(by_path, -ESTALE);
    assert_int_equal(refusal.code, ERROR_NOT_FOUND);
    assert_non_null(strstr(refusal.text, fixture.root));
    assert_int_equal(diff, -ESTALE);
    assert_int_equal(clone_shell(0, "test -f etc/passwd"), 0);
}

/* It is a clone like others before it has one; there is nothing in it to be mounted. */
void clone_root_later(void **state)
{
    struct storage *storage = &fixture.storage;
    struct error refusal = {0};
    int mount = -EBADF;
    uint64_t bytes = 1;
    _cleanup_clones_ struct clone_list list = {0};
    _cleanup_close_ int root = open(fixture.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    const struct clone_request request = {
        .clone = "later_1234567890123456789", .root_fd = -EBADF, .first_id = clone_first_id(0)};
    const struct id_map map = {0, clone_first_id(0), USERNS_RANGE};
    _cleanup_close_ int userns = userns_new(&map, 1, &map, 1);
    assert_ok(storage->driver->clone(storage, &request, &err));
    assert_ok(storage->driver->clones(storage, &list, &err));
    assert_int_equal(list.n, 1);
    assert_string_equal(list.items[0].name, request.clone);
    assert_ok(storage->driver->usage(storage, request.clone, &bytes, &err));
    assert_true(storage->driver->mount(storage, request.clone, userns, root, &mount, &refusal) <
                0);
    assert_non_null(strstr(refusal.text, "names no directory"));
    mount = storage->driver->mount_late(fixture.root, root, userns, &refusal);
    assert_true(mount >= 0);
    struct stat st = {0};
    assert_int_equal(fstatat(mount, "etc/passwd", &st, 0), 0);
    assert_int_equal(st.st_uid, clone_first_id(0));
    struct statvfs vfs = {0};
    assert_int_equal(fstatvfs(mount, &vfs), 0);
    assert_int_equal(vfs.f_flag & (ST_NOSUID | ST_NODEV), ST_NOSUID | ST_NODEV);
    fd_close(mount);
    _cleanup_close_ int proc = open("/proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    refusal = (struct error){0};
    assert_true(storage->driver->mount_late("/proc", proc, userns, &refusal) < 0);
    assert_non_null(strstr(refusal.text, "cannot be id-mapped"));
    assert_ok(storage->driver->destroy(storage, request.clone, &err));
    assert_ok(storage->driver->destroy(storage, request.clone, &err));
    assert_int_equal(faccessat(root, "etc/passwd", F_OK, 0), 0);
}

void clone_destroy_twice(void **state)
{
    struct error refusal = {0};
    int mount = -EBADF;
    char name[CLONE_NAME_SIZE];
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    assert_ok(destroy(0, &err));
    assert_ok(destroy(0, &err));
    assert_ok(destroy(1, &err));
    assert_true(fixture.storage.driver->mount(&fixture.storage, name, -EBADF, -EBADF, &mount,
                                              &refusal) < 0);
    assert_int_equal(refusal.code, ERROR_NOT_FOUND);
}

void clone_destroy_busy(void **state)
{
    assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
    assert_int_equal(clone_shell(0, "mkdir -p a/b/c; echo x > a/b/c/file"), 0);
    int mount = clone_mount(0);
    int file = openat(mount, "a/b/c/file", O_RDWR | O_CLOEXEC);
    assert_true(file >= 0);
    int r = destroy(0, NULL);
    assert_true(r == 0 || r == -EBUSY);
    fd_close(file);
    fd_close(mount);
    assert_ok(destroy(0, &err));
    if (!has(STORAGE_DISPOSABLE)) {
        /* the directory is not the driver's to remove */
        assert_int_equal(faccessat(fixture.state_fd, "root/a/b/c/file", F_OK, 0), 0);
        assert_ok(clone_make(TEMPLATE, NULL, 0, NULL, &err));
        assert_int_equal(clone_shell(0, "rm -r a"), 0);
    }
}

#define REFUSED(capability, expression)                                                        \
    do {                                                                                       \
        struct error err = {0};                                                                \
        if (!has(capability)) {                                                                \
            assert_int_equal(expression, -EOPNOTSUPP);                                         \
            assert_int_equal(err.code, ERROR_UNSUPPORTED);                                     \
            assert_non_null(strstr(err.text, driver->name));                                   \
        }                                                                                      \
    } while (0)

/* What a driver cannot do it refuses by name; no call may crash. */
void clone_unsupported(void **state)
{
    struct storage *storage = &fixture.storage;
    const struct storage_driver *driver = storage->driver;
    struct template_list templates = {0};
    struct generation_list generations = {0};
    struct template_info info = {.name = "new", .source = "test"};
    char text[64];
    char name[CLONE_NAME_SIZE];
    int fd = -EBADF;
    uint64_t bytes = 1;
    assert_ok(clone_make(TEMPLATE, NULL, 0, name, &err));
    assert_ok(driver->usage(storage, name, &bytes, &err));
    assert_ok(driver->collect(storage, &err));
    assert_int_equal(driver->mount_late != NULL, has(STORAGE_LATE_ROOTS));
    REFUSED(STORAGE_TEMPLATES, driver->templates(storage, &templates, &err));
    REFUSED(STORAGE_TEMPLATES, driver->import(storage, text, sizeof(text), &fd, &err));
    REFUSED(STORAGE_TEMPLATES, driver->publish(storage, "x", &info, text, &err));
    REFUSED(STORAGE_TEMPLATES, driver->abort(storage, "x", &err));
    REFUSED(STORAGE_TEMPLATES, driver->generations(storage, "x", &generations, &err));
    REFUSED(STORAGE_TEMPLATES, driver->snapshot(storage, "x", text, &err));
    REFUSED(STORAGE_TEMPLATES, driver->rollback(storage, "x", "y", &err));
    REFUSED(STORAGE_TEMPLATES, driver->remove_generation(storage, "x", "y", &err));
    REFUSED(STORAGE_TEMPLATES, driver->remove_template(storage, "x", &err));
    REFUSED(STORAGE_TEMPLATES, driver->mount_generation(storage, "x", "y", &fd, &err));
    REFUSED(STORAGE_DIFF, driver->diff(storage, name, NULL, NULL, NULL, &err));
    REFUSED(STORAGE_DIFF, driver->commit(storage, name, NULL, &info, text, &err));
}

/* What is only not there now is not to be made anew. */
void clone_dataset_missing(void **state)
{
    struct error why = {0};
    uint64_t bytes = 0;
    char name[CLONE_NAME_SIZE];
    struct clone_list clones = {0};
    struct storage away = {0};
    const struct storage_driver *driver = fixture.storage.driver;
    clone_name(7, name);
    assert_int_equal(driver->usage(&fixture.storage, name, &bytes, &why), -ENOENT);
    assert_non_null(strstr(why.text, "does not exist any more"));
    assert_null(strstr(why.text, "create"));
    assert_ok(storage_open("zfs:isolate-away/boxes", fixture.state_fd, &away, &err));
    int r = driver->clones(&away, &clones, &why);
    storage_discard(&away, fixture.state_fd);
    assert_int_equal(r, -ENODEV);
    assert_non_null(
        strstr(why.text, "pool \"isolate-away\" is not imported; see `zpool import`"));
}
