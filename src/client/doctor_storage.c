/* SPDX-License-Identifier: Apache-2.0 */
/* The directories of isolated: whether a clone by an id-mapped overlay works in the state
 * directory, and whether the runtime directory is or can be a tmpfs. Runs in isolate-ctl as
 * root; the paths are from the configuration, which is root's. All is made in a temporary
 * directory of mode 0700 and removed again. */
#include "client/doctor.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/overlayfs.h"
#include "sys/tree.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <linux/sched.h>
#include <sys/stat.h>
#include <sys/vfs.h>

/* ---- file systems ---- */

/* Opens path, or the nearest parent that exists, whose name is copied to ret_path. */
static int open_nearest(const char *path, char *ret_path, size_t size, struct error *err)
{
    char name[PATH_MAX];
    if (snprintf(name, sizeof(name), "%s", path) >= (int)sizeof(name))
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "%.100s: ", path);
    for (;;) {
        int fd = open(name, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
        if (fd >= 0) {
            (void)snprintf(ret_path, size, "%s", name);
            return fd;
        }
        char *slash = strrchr(name, '/');
        if (errno != ENOENT || !slash)
            return fail(err, ERROR_SYSTEM, errno, "open %.200s: ", name);
        slash[slash == name] = '\0';
    }
}

static const char *file_system_of(int fd)
{
    static const struct {
        uint32_t magic;
        const char *name;
    } names[] = {
        {EXT4_SUPER_MAGIC, "ext4"},         {XFS_SUPER_MAGIC, "XFS"},
        {BTRFS_SUPER_MAGIC, "btrfs"},       {TMPFS_MAGIC, "tmpfs"},
        {OVERLAYFS_SUPER_MAGIC, "overlay"}, {FUSE_SUPER_MAGIC, "FUSE"},
        {NFS_SUPER_MAGIC, "NFS"},           {V9FS_MAGIC, "9p"},
        {F2FS_SUPER_MAGIC, "f2fs"},         {0x2fc12fc1, "ZFS"},
        {0xca451a4e, "bcachefs"},           {ECRYPTFS_SUPER_MAGIC, "ecryptfs"},
    };
    struct statfs info;
    if (fstatfs(fd, &info) < 0)
        return "unknown";
    for (size_t i = 0; i < ELEMENTS(names); i++)
        if (names[i].magic == (uint32_t)info.f_type)
            return names[i].name;
    return "another file system";
}

/* ---- the state directory ---- */

/* One clone as storage overlay makes it: lower id-mapped, upper and work owned by the range. */
struct trial {
    int directory;
    int lower;
    int upper;
    int work;
    int userns;
    uint32_t id;
    const char *step; /* what the remedy depends on: "files", "rights", "id-map" or "overlay" */
};

static void trial_clear(struct trial *trial)
{
    int *fds[] = {&trial->directory, &trial->lower, &trial->upper, &trial->work,
                  &trial->userns};
    for (size_t i = 0; i < ELEMENTS(fds); i++)
        fd_closep(fds[i]);
}

static int make_owned(int dir_fd, const char *name, uint32_t id)
{
    int fd = dir_make_at(dir_fd, name, 0755);
    if (fd < 0 || fchownat(dir_fd, name, id, id, AT_SYMLINK_NOFOLLOW) == 0)
        return fd;
    int r = -errno;
    (void)fd_close(fd);
    return r;
}

static int trial_make_files(struct trial *trial, struct error *err)
{
    _cleanup_close_ int lower = make_owned(trial->directory, "lower", 0);
    trial->upper = make_owned(trial->directory, "upper", trial->id);
    trial->work = make_owned(trial->directory, "work", trial->id);
    if (lower < 0 || trial->upper < 0 || trial->work < 0) {
        int r = lower < 0 ? lower : trial->upper < 0 ? trial->upper : trial->work;
        return fail(err, ERROR_SYSTEM, r, "making directories of another owner: ");
    }
    int r = file_replace_at(lower, "seed", "isolate\n", 8, false);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "making a file: ") : 0;
}

static int trial_map_lower(struct trial *trial, struct error *err)
{
    const struct id_map map = {.outside = trial->id, .count = USERNS_RANGE};
    trial->step = "rights";
    trial->userns = userns_new(&map, 1, &map, 1);
    if (trial->userns < 0)
        return fail(err, ERROR_SYSTEM, trial->userns, "user namespace: ");
    trial->lower = mount_open_tree(trial->directory, "lower", false);
    if (trial->lower < 0)
        return fail(err, ERROR_SYSTEM, trial->lower, "open_tree: ");
    trial->step = "id-map";
    int r = mount_set_attributes(trial->lower, false, 0, 0, trial->userns);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "id-mapped mount: ") : 0;
}

static int trial_mount(struct trial *trial, struct error *err)
{
    const struct overlayfs overlay = {
        .lowers = &trial->lower,
        .n = 1,
        .parent_fd = trial->directory,
    };
    trial->step = "overlay";
    int mount = overlayfs_mount(&overlay, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return mount < 0 ? fail(err, ERROR_SYSTEM, mount, "overlay over an id-mapped layer: ")
                     : mount;
}

/* In the sandbox's place: its root must own what the template's root owned, and may write. */
static int child_use(const void *argument, struct error *err)
{
    int overlay = *(const int *)argument;
    struct stat info;
    int r = mount_attach_path(overlay, "/");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "overlay in another user namespace: ");
    if (fstatat(overlay, "seed", &info, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "overlay: a file of the lower layer: ");
    if (info.st_uid != 0 || info.st_gid != 0)
        return fail(err, ERROR_UNSUPPORTED, EOVERFLOW,
                    "overlay ignores the id map of its layer");
    _cleanup_close_ int file =
        openat(overlay, "new", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (file < 0 && errno == EROFS)
        return fail(err, ERROR_UNSUPPORTED, EROFS, "overlay was silently mounted read-only");
    if (file < 0)
        return fail(err, ERROR_SYSTEM, errno, "overlay: creating a file: ");
    _cleanup_close_ int seed = openat(overlay, "seed", O_WRONLY | O_APPEND | O_CLOEXEC);
    r = seed < 0 ? -errno : fd_write_all(seed, "more\n", 5);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "overlay: changing a file: ") : 0;
}

static int trial_run(const struct doctor *doctor, struct trial *trial, struct error *err)
{
    int r = trial_make_files(trial, err);
    if (r == 0)
        r = trial_map_lower(trial, err);
    if (r < 0)
        return r;
    _cleanup_close_ int overlay = trial_mount(trial, err);
    if (overlay < 0)
        return overlay;
    r = doctor_child(doctor, CLONE_NEWUSER | CLONE_NEWNS, child_use, &overlay, err);
    if (r < 0)
        return r;
    struct stat info;
    if (fstatat(trial->upper, "new", &info, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "overlay: the new file in the upper layer: ");
    if (info.st_uid != trial->id || info.st_gid != trial->id)
        return fail(err, ERROR_UNSUPPORTED, EOVERFLOW, "overlay made a file of uid %u, not %u",
                    (unsigned)info.st_uid, trial->id);
    return 0;
}

/* Makes a directory in `parent`, tries in it and removes it. */
static int trial_in(const struct doctor *doctor, int parent_fd, struct trial *trial,
                    struct error *err)
{
    char name[64];
    uint64_t number = 0;
    random_fill(&number, sizeof(number));
    (void)snprintf(name, sizeof(name), ".isolate-doctor.%016llx", (unsigned long long)number);
    if (mkdirat(parent_fd, name, 0700) < 0)
        return fail(err, ERROR_SYSTEM, errno, "mkdir: ");
    trial->directory = dir_open_at(parent_fd, name);
    int r = trial->directory < 0 ? fail(err, ERROR_SYSTEM, trial->directory, "open: ")
                                 : trial_run(doctor, trial, err);
    trial_clear(trial);
    int removed = tree_remove(parent_fd, name);
    if (r == 0 && removed < 0)
        r = fail(err, ERROR_SYSTEM, removed, "removing %s: ", name);
    return r;
}

void doctor_check_state_directory(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    struct trial trial = {
        .directory = -EBADF,
        .lower = -EBADF,
        .upper = -EBADF,
        .work = -EBADF,
        .userns = -EBADF,
        .id = doctor->trial_id,
        .step = "files",
    };
    char path[PATH_MAX];
    const char *wanted = doctor->config.state_directory;
    _cleanup_close_ int fd = open_nearest(wanted, path, sizeof(path), &err);
    int r = fd < 0 ? fd : trial_in(doctor, fd, &trial, &err);
    if (r == 0) {
        doctor_ok(check, "%.150s (%s)%s", path, file_system_of(fd),
                  streq(path, wanted) ? "" : ", where it will be made");
        return;
    }
    doctor_bad(check, "%.80s (%s): %.150s", fd < 0 ? wanted : path,
               fd < 0 ? "not opened" : file_system_of(fd), err.text);
    if (streq(trial.step, "files"))
        doctor_remedy(check,
                      "make %.120s a directory that root can write to, or set "
                      "StateDirectory=",
                      wanted);
    else if (streq(trial.step, "rights"))
        doctor_remedy(check, "run isolate on the host, or as real root of a container with "
                             "CAP_SYS_ADMIN");
    else
        doctor_remedy(check,
                      "move StateDirectory= to ext4, XFS, btrfs or a tmpfs, or make "
                      "templates with --storage=zfs, btrfs or reflink%s",
                      streq(trial.step, "overlay") ? "; dmesg says what overlayfs refused"
                                                   : "");
}

/* ---- the runtime directory ---- */

/* By path: an fd from outside belongs to another mount namespace. */
static int child_mount_runtime(const void *argument, struct error *err)
{
    _cleanup_close_ int fd = mount_new("tmpfs", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "tmpfs: ");
    int r = mount_attach_path(fd, argument);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "mounting a tmpfs: ") : 0;
}

void doctor_check_runtime_directory(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    char path[PATH_MAX];
    const char *wanted = doctor->config.runtime_directory;
    _cleanup_close_ int fd = open_nearest(wanted, path, sizeof(path), &err);
    int r = fd < 0 ? fd : 0;
    if (r == 0 && faccessat(AT_FDCWD, path, W_OK, AT_EACCESS) < 0)
        r = fail(&err, ERROR_SYSTEM, errno, "%.100s: ", path);
    if (r == 0 && streq(file_system_of(fd), "tmpfs")) {
        doctor_ok(check, "%.200s (tmpfs)", path);
        return;
    }
    if (r == 0)
        r = doctor_child(doctor, CLONE_NEWNS, child_mount_runtime, path, &err);
    if (r == 0) {
        doctor_ok(check, "%.120s (%s): isolated mounts a tmpfs on %.80s", path,
                  file_system_of(fd), wanted);
        return;
    }
    doctor_bad(check, "%.80s: %.160s", wanted, err.text);
    doctor_remedy(check,
                  "mount a tmpfs: mount -t tmpfs -o mode=0755 tmpfs %.100s, or set "
                  "RuntimeDirectory= to a directory on one",
                  wanted);
}
