/* SPDX-License-Identifier: Apache-2.0 */
/* The ground that the contract tests stand on. Runs as root; everything it reads it made
 * itself. */
#include "storage_fixture.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <sys/xattr.h>

#define IMAGE_BYTES (40U << 20)

struct fixture fixture = {.storage = {.dir_fd = -EBADF}, .state_fd = -EBADF};

bool has(enum storage_capability capability)
{
    return fixture.storage.driver->capabilities & capability;
}

static _printf_(1, 2) int run(const char *format, ...)
{
    char command[256];
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(command, sizeof(command), format, arguments);
    va_end(arguments);
    int status = system(command); /* only names made here */
    return WIFEXITED(status) && WEXITSTATUS(status) == 0 ? 0 : -EIO;
}

/* A loop device lets go of its file as soon as its last mount is gone, and mounts go with the
 * namespace, so that even SIGKILL leaves nothing. */
static int file_system_mount(const char *type, bool has_quotas)
{
    const char *directory = fixture.mount;
    /* what is_limited is large, because all of an image is allocated */
    if (streq(type, "tmpfs"))
        return run("mount -t tmpfs -o size=%s,mode=0700 tmpfs %s",
                   fixture.is_limited ? "512m" : "64m", directory);
    char image[80];
    (void)snprintf(image, sizeof(image), "%s/image", directory);
    if (run("mount -t tmpfs -o size=1g tmpfs %s", directory) < 0)
        return -EIO;
    const bool is_large = fixture.is_limited && streq(type, "ext4");
    static const struct {
        const char *type;
        const char *size;
        const char *make;
        const char *quota_feature;
        const char *quota_option;
    } known[] = {
        {"ext4", "64M", "mkfs.ext4 -q -m 0", "-O quota,project", "prjquota"},
        {"xfs", "320M", "mkfs.xfs -q", "", "prjquota"},
        {"btrfs", "320M", "mkfs.btrfs -q", "", "defaults"},
    };
    size_t i = 0;
    while (i < ELEMENTS(known) && !streq(known[i].type, type))
        i++;
    if (i == ELEMENTS(known) ||
        run("truncate -s %s %s", is_large ? "16G" : known[i].size, image) < 0 ||
        run("%s %s %s", known[i].make, has_quotas ? known[i].quota_feature : "", image) < 0 ||
        run("mount -o loop,%s %s %s", has_quotas ? known[i].quota_option : "defaults", image,
            directory) < 0)
        return -EIO;
    return has_quotas && streq(type, "btrfs") ? run("btrfs quota enable %s", directory) : 0;
}

/* OpenZFS, where the kernel has it: a pool on the disk that ISOLATE_CONTRACT_DISK names. */
static int zfs_start(void)
{
    const char *disk = getenv("ISOLATE_CONTRACT_DISK");
    /* not tmpfs, which knows no attributes of users' before kernel 6.6 */
    if (!disk || file_system_mount("ext4", false) < 0)
        return -ENODEV;
    return run("zpool create -f -O xattr=sa -O acltype=posix -m %s/pool contract %s",
               fixture.mount, disk);
}

/* zfs-fuse with a pool of its own: it keeps its socket and the list of pools in places that are
 * private here, and ends with this process. */
static int zfs_fuse_start(void)
{
    char image[80];
    (void)snprintf(image, sizeof(image), "%s/image", fixture.mount);
    if (run("mount -t tmpfs -o size=1g,mode=0700 tmpfs %s", fixture.mount) < 0 ||
        run("mount -t tmpfs tmpfs /run") < 0 || run("mkdir /run/zfs /run/lock") < 0 ||
        run("mkdir -p /var/lib/zfs && mount -t tmpfs tmpfs /var/lib/zfs") < 0 ||
        run("truncate -s 512M %s", image) < 0)
        return -EIO;
    pid_t parent = getpid();
    fixture.zfs_fuse = fork();
    if (fixture.zfs_fuse == 0) {
        (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
        if (getppid() != parent)
            _exit(1);
        (void)dup2(open("/dev/null", O_RDWR | O_CLOEXEC), STDERR_FILENO);
        (void)dup2(STDERR_FILENO, STDOUT_FILENO);
        (void)execlp("zfs-fuse", "zfs-fuse", "--no-daemon", NULL);
        _exit(1);
    }
    int r = -EIO;
    for (unsigned tries = 0; r < 0 && tries < 100; tries++) {
        (void)usleep(50000);
        r = run("zpool create -m %s/pool contract %s 2>/dev/null", fixture.mount, image);
    }
    return r;
}

int fixture_open(const char *driver, const char *file_system)
{
    struct error err = {0};
    size_t length = strcspn(file_system, "+");
    bool has_quotas = streq(file_system + length, "+quota");
    fixture.is_limited = streq(file_system + length, "+image");
    (void)snprintf(fixture.file_system, sizeof(fixture.file_system), "%.*s", (int)length,
                   file_system);
    file_system = fixture.file_system;
    (void)snprintf(fixture.mount, sizeof(fixture.mount), "/tmp/isolate-contract-XXXXXX");
    if (unshare(CLONE_NEWNS) < 0 ||
        mount_classic("", "/", NULL, MS_PRIVATE | MS_REC, NULL) < 0 ||
        !mkdtemp(fixture.mount)) {
        (void)fprintf(stderr, "cannot make a private mount namespace: %s\n", strerror(errno));
        return 77;
    }
    bool is_zfs = streq(file_system, "zfs");
    if ((!is_zfs                                ? file_system_mount(file_system, has_quotas)
         : access("/sys/module/zfs", F_OK) == 0 ? zfs_start()
                                                : zfs_fuse_start()) < 0) {
        (void)fprintf(stderr, "cannot mount %s here\n", file_system);
        return 77;
    }
    fixture.state_fd = open(fixture.mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    (void)snprintf(fixture.root, sizeof(fixture.root), "%s/root", fixture.mount);
    if (fixture.state_fd < 0 || mkdirat(fixture.state_fd, "root", 0755) < 0 ||
        storage_open(is_zfs ? "zfs:contract" : driver, fixture.state_fd, &fixture.storage,
                     &err) < 0) {
        (void)fprintf(stderr, "cannot open storage: %s\n", err.text);
        return 1;
    }
    _cleanup_close_ int root = dir_open_at(fixture.state_fd, "root");
    fixture.has_quotas = has_quotas || is_zfs;
    fixture.has_images = streq(driver, "overlay") && !has_quotas;
    fixture.has_xattrs = fixture.has_root = fixture.zfs_fuse == 0; /* zfs-fuse has none */
    populate(root);
    uint32_t first_id = 0;
    fixture.shares_ids =
        fixture.storage.driver->range &&
        fixture.storage.driver->range(&fixture.storage, TEMPLATE, &first_id, NULL) == 1;
    return 0;
}

void fixture_close(void)
{
    storage_close(&fixture.storage);
    if (streq(fixture.file_system, "zfs") && fixture.zfs_fuse == 0)
        (void)run("zpool destroy -f contract");
    if (fixture.zfs_fuse > 0) {
        (void)kill(fixture.zfs_fuse, SIGKILL);
        (void)waitpid(fixture.zfs_fuse, NULL, 0);
    }
    fixture.state_fd = fd_close(fixture.state_fd);
    while (mount_detach(fixture.mount) == 0) {
    }
    (void)rmdir(fixture.mount);
}

static void must(bool ok, const char *what)
{
    if (ok)
        return;
    (void)fprintf(stderr, "fixture: %s: %s\n", what, strerror(errno));
    exit(1);
}

static void make_file(int root, const char *path, const char *content, uid_t uid, mode_t mode)
{
    /* an old time: a change within the same tick must not look like none */
    const struct timespec times[2] = {{1600000000, 1}, {1600000000, 123456789}};
    _cleanup_close_ int fd = openat(root, path, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    must(fd >= 0 && fd_write_all(fd, content, strlen(content)) == 0 &&
             fchown(fd, uid, uid) == 0 && fchmod(fd, mode) == 0 && futimens(fd, times) == 0,
         path);
}

static void make_dir(int root, const char *path, uid_t uid, mode_t mode)
{
    must(mkdirat(root, path, 0700) == 0 && fchownat(root, path, uid, uid, 0) == 0 &&
             fchmodat(root, path, mode, 0) == 0,
         path);
}

/* An ACL as setxattr(2) takes it, which lets one more user read. */
void acl_fill(struct acl *acl, uint32_t uid)
{
    const uint32_t nobody = UINT32_MAX;
    *acl = (struct acl){
        .version = 2,
        .entries = {{0x01, 6, nobody}, /* the owner */
                    {0x02, 4, uid},
                    {0x04, 4, nobody}, /* the group */
                    {0x10, 4, nobody}, /* the mask */
                    {0x20, 4, nobody}},
    };
}

void populate(int root)
{
    static const char *const directories[] = {
        "etc", "etc/apt",   "usr",       "usr/bin", "usr/lib", "usr/lib/x", "usr/lib/x/deep",
        "var", "var/cache", "var/empty", "tmp"};
    for (size_t i = 0; i < ELEMENTS(directories); i++)
        make_dir(root, directories[i], 0, streq(directories[i], "tmp") ? 01777 : 0755);
    make_file(root, "etc/passwd", "root:x:0:0:root:/root:/bin/sh\n", 0, 0644);
    make_file(root, "etc/shadow", "root:*\n", 0, 0600);
    make_file(root, "etc/resolv.conf", "nameserver 192.0.2.1\n", 0, 0644);
    make_file(root, "etc/apt/sources.list", "deb\n", 0, 0644);
    make_file(root, "usr/bin/tool", "tool", 0, 0755);
    make_file(root, "usr/bin/sudo", "sudo", 0, 04755);
    make_file(root, "usr/lib/x/one", "1", 0, 0644);
    make_file(root, "usr/lib/x/two", "2", 0, 0644);
    make_file(root, "usr/lib/x/deep/three", "3", 0, 0644);
    make_file(root, "usr/lib/x-ray", "x", 0, 0644);
    make_file(root, "var/cache/old", "old", 0, 0644);
    make_file(root, "var/cache/older", "older", 0, 0644);
    make_dir(root, "home", 0, 0755);
    make_dir(root, "home/user", 1000, 0700);
    make_file(root, "home/user/notes", "notes", 1000, 0600);
    make_file(root, "etc/acl", "acl", 0, 0644);
    must(linkat(root, "usr/bin/tool", root, "usr/bin/tool-2", 0) == 0, "link");
    must(symlinkat("tool", root, "usr/bin/link") == 0, "symlink");
    must(symlinkat("/etc/passwd", root, "etc/absolute") == 0, "symlink");
    must(mknodat(root, "var/fifo", S_IFIFO | 0600, 0) == 0, "fifo");
    must(mknodat(root, "var/null", S_IFCHR | 0666, 0x103) == 0, "device");
    if (!fixture.has_xattrs)
        return;
    _cleanup_close_ int fd = openat(root, "usr/lib/x/one", O_RDONLY | O_CLOEXEC);
    must(fsetxattr(fd, "user.colour", "red", 3, 0) == 0, "xattr");
    struct acl acl;
    acl_fill(&acl, 1000);
    _cleanup_close_ int file = openat(root, "etc/acl", O_RDONLY | O_CLOEXEC);
    must(fsetxattr(file, "system.posix_acl_access", &acl, sizeof(acl), 0) == 0, "acl");
    _cleanup_close_ int dir = openat(root, "var/cache", O_RDONLY | O_CLOEXEC);
    must(fsetxattr(dir, "user.colour", "blue", 4, 0) == 0, "xattr");
}

int template_make(const char *name, char ret_generation[static GENERATION_SIZE],
                  struct error *err)
{
    char key[64];
    _cleanup_close_ int tree = -EBADF;
    struct template_info info = {.source = "test"};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    struct storage *storage = &fixture.storage;
    int r = storage->driver->import(storage, key, sizeof(key), &tree, err);
    if (r < 0)
        return r;
    populate(tree);
    tree = fd_close(tree);
    r = storage->driver->publish(storage, key, &info, ret_generation, err);
    if (r < 0 && storage->driver->abort(storage, key, NULL) < 0)
        fail_msg("abort failed");
    return r;
}

uint32_t clone_first_id(unsigned n)
{
    return FIRST_ID + (fixture.shares_ids ? 0 : n * USERNS_RANGE);
}

void clone_name(unsigned n, char ret[static CLONE_NAME_SIZE])
{
    (void)snprintf(ret, CLONE_NAME_SIZE, "base_1%018u", n);
}

int clone_make(const char *template_name, const char *generation, unsigned n, char *ret_name,
               struct error *err)
{
    char name[CLONE_NAME_SIZE];
    clone_name(n, name);
    if (ret_name)
        memcpy(ret_name, name, sizeof(name));
    _cleanup_close_ int root = open(fixture.root, O_PATH | O_DIRECTORY | O_CLOEXEC);
    struct clone_request request = {
        .clone = name,
        .template_name = has(STORAGE_TEMPLATES) ? template_name : NULL,
        .generation = generation,
        .root_fd = root,
        .root_path = fixture.root,
        .first_id = clone_first_id(n),
        .shares_ids = fixture.shares_ids,
        .durable = !fixture.is_volatile,
    };
    const struct storage_driver *driver = fixture.storage.driver;
    int r = driver->clone(&fixture.storage, &request, err);
    if (r < 0 || !fixture.is_limited)
        return r;
    r = driver->limit(&fixture.storage, name, IMAGE_BYTES, err);
    if (r < 0 && driver->destroy(&fixture.storage, name, NULL) < 0)
        fail_msg("clone %s stays", name);
    return r;
}

static int userns_of(unsigned n)
{
    const struct id_map map = {0, clone_first_id(n), USERNS_RANGE};
    int fd = userns_new(&map, 1, &map, 1);
    if (fd < 0)
        fail_msg("user namespace: %s", strerror(-fd));
    return fd;
}

int clone_mount(unsigned n)
{
    char name[CLONE_NAME_SIZE];
    int mount = -EBADF;
    clone_name(n, name);
    _cleanup_close_ int userns = userns_of(n);
    assert_ok(
        fixture.storage.driver->mount(&fixture.storage, name, userns, -EBADF, &mount, &err));
    return mount;
}

int clone_open(unsigned n)
{
    char name[CLONE_NAME_SIZE];
    char path[CLONE_NAME_SIZE + 16];
    clone_name(n, name);
    (void)snprintf(path, sizeof(path), "clones/%s/tree", name);
    int fd = dir_open_at(fixture.storage.dir_fd, path);
    return fd >= 0 ? fd : clone_mount(n);
}

static int shell(int mount, int userns, uint32_t uid, const char *script)
{
    pid_t pid = fork();
    if (pid == 0) {
        if ((userns >= 0 && setns(userns, CLONE_NEWUSER) < 0) ||
            (uid != 0 && setgroups(0, NULL) < 0) || setresgid(uid, uid, uid) < 0 ||
            setresuid(uid, uid, uid) < 0 || fchdir(mount) < 0)
            _exit(99);
        (void)umask(022);
        if (!getenv("ISOLATE_CONTRACT_VERBOSE")) /* the shell complains that it is nowhere */
            (void)dup2(open("/dev/null", O_WRONLY | O_CLOEXEC), STDERR_FILENO);
        (void)execl("/bin/sh", "sh", "-ec", script, NULL);
        _exit(98);
    }
    int status = 0;
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : 97;
}

int clone_shell(unsigned n, const char *script)
{
    _cleanup_close_ int mount = clone_mount(n);
    _cleanup_close_ int userns = userns_of(n);
    return shell(mount, userns, 0, script);
}

int clone_view_shell(unsigned n, uint32_t uid, const char *script)
{
    char name[CLONE_NAME_SIZE];
    _cleanup_close_ int mount = -EBADF;
    struct storage *storage = &fixture.storage;
    const struct storage_viewer viewer = {uid, uid, clone_first_id(n)};
    clone_name(n, name);
    assert_ok(storage_view(storage, name, &viewer, -EBADF, &mount, &err));
    int status = shell(mount, -EBADF, uid, script);
    assert_int_equal(storage->driver->settle(storage, mount), 0);
    return status;
}

static void check_empty(const char *directory)
{
    _cleanup_close_ int dir = dir_open_at(fixture.storage.dir_fd, directory);
    if (dir == -ENOENT)
        return;
    DIR *stream = fdopendir(TAKE_FD(dir));
    assert_non_null(stream);
    for (struct dirent *entry = readdir(stream); entry; entry = readdir(stream))
        if (entry->d_name[0] != '.')
            fail_msg("left behind: %s/%s", directory, entry->d_name);
    (void)closedir(stream);
}

/* What is still busy is taken away by a later look. */
static void check_no_datasets(void)
{
    static const char count[] = "test $(zfs list -H -o name | wc -l) = 1";
    for (unsigned tries = 0; run("%s", count) < 0 && tries < 20; tries++) {
        (void)usleep(500000);
        assert_ok(fixture.storage.driver->collect(&fixture.storage, &err));
    }
    assert_int_equal(run("%s || { zfs list -t all; false; }", count), 0);
}

/* No loop device has a file of a clone. */
static void check_no_devices(void)
{
    if (run("! grep -l %s/.*/clones/ /sys/block/loop*/loop/backing_file 2>/dev/null",
            fixture.mount) < 0)
        fail_msg("a loop device is left");
}

void destroy_everything(void)
{
    struct storage *storage = &fixture.storage;
    const struct storage_driver *driver = storage->driver;
    _cleanup_clones_ struct clone_list clones = {0};
    _cleanup_templates_ struct template_list templates = {0};
    assert_ok(driver->collect(storage, &err));
    assert_ok(driver->clones(storage, &clones, &err));
    for (size_t i = 0; i < clones.n; i++)
        assert_ok(driver->destroy(storage, clones.items[i].name, &err));
    if (has(STORAGE_TEMPLATES)) {
        assert_ok(driver->templates(storage, &templates, &err));
        for (size_t i = 0; i < templates.n; i++)
            assert_ok(driver->remove_template(storage, templates.items[i].name, &err));
    }
    assert_ok(driver->collect(storage, &err));
    check_empty("clones");
    check_empty("trash");
    check_empty("templates");
    check_empty("layers");
    check_empty("imports");
    check_no_devices();
    if (has(STORAGE_DATASETS))
        check_no_datasets();
}

int fixture_setup(void **state)
{
    char generation[GENERATION_SIZE];
    fixture.is_volatile = false;
    if (!has(STORAGE_TEMPLATES))
        return 0;
    struct error err = {0};
    int r = template_make(TEMPLATE, generation, &err);
    /* btrfs gives back what the test before this one has destroyed when it finds the time */
    for (unsigned tries = 0; r == -ENOSPC && tries < 40; tries++) {
        (void)usleep(500000);
        err = (struct error){0};
        r = template_make(TEMPLATE, generation, &err);
    }
    if (r < 0)
        fail_msg("template: %s", err.text);
    return 0;
}

int fixture_teardown(void **state)
{
    destroy_everything();
    return 0;
}
