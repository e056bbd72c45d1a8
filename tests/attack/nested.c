/* SPDX-License-Identifier: Apache-2.0 */
/* Where the command may make namespaces (--seccomp nested): as root of a user namespace of its
 * own and with a mount namespace of that, what it has found mounted is not to be taken away,
 * opened for writing or looked behind. "control" makes such mounts itself, which are then its
 * own. */
#include "attempt.h"

#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

#define COPY      1U /* OPEN_TREE_CLONE */
#define RECURSIVE 0x8000U
#define PINNED    "/dev/.nested"

static int write_text(const char *path, const char *text)
{
    int fd = open(path, O_WRONLY | O_CLOEXEC);
    ssize_t n = fd < 0 ? -1 : write(fd, text, strlen(text));
    if (fd >= 0)
        (void)close(fd);
    return n < 0 ? -1 : 0;
}

/* Root of a new user namespace, with a copy of all mounts. */
static int nest(void)
{
    char map[64];
    unsigned uid = getuid();
    unsigned gid = getgid();
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0 ||
        write_text("/proc/self/setgroups", "deny") < 0)
        return -1;
    (void)snprintf(map, sizeof(map), "0 %u 1", uid);
    if (write_text("/proc/self/uid_map", map) < 0)
        return -1;
    (void)snprintf(map, sizeof(map), "0 %u 1", gid);
    return write_text("/proc/self/gid_map", map);
}

static int cover(const char *path, bool read_only)
{
    return mount("cover", path, "tmpfs", read_only ? MS_RDONLY : 0, "mode=0755");
}

/* What a sandbox has, as far as the attempts need it. */
static int pretend(void)
{
    if (unshare(CLONE_NEWNS) < 0 || mount(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL) < 0 ||
        mount("/dev/null", "/proc/keys", NULL, MS_BIND, NULL) < 0 ||
        cover("/sys/firmware", true) < 0 ||
        mount("/proc/sys", "/proc/sys", NULL, MS_BIND, NULL) < 0 ||
        mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND | MS_RDONLY, NULL) < 0 ||
        cover("/mnt", true) < 0 || cover("/dev", false) < 0 || mkdir(PINNED, 0755) < 0)
        return -1;
    return cover(PINNED, false) < 0 || mkdir(PINNED "/proc", 0755) < 0 ||
                   mount("proc", PINNED "/proc", "proc", 0, NULL) < 0
               ? -1
               : cover(PINNED, true);
}

static long unmask_file(void)
{
    return umount2("/proc/keys", MNT_DETACH);
}

static long unmask_directory(void)
{
    return umount2("/sys/firmware", MNT_DETACH);
}

static long unmount_read_only(void)
{
    return umount2("/proc/sys", MNT_DETACH);
}

static long remount_writable(void)
{
    return mount(NULL, "/proc/sys", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long unmount_bind(void)
{
    return umount2("/mnt", MNT_DETACH);
}

static long remount_bind_writable(void)
{
    return mount(NULL, "/mnt", NULL, MS_REMOUNT | MS_BIND, NULL);
}

static long uncover_proc(void)
{
    return umount2(PINNED, MNT_DETACH) < 0 ? -1 : open_and_close(PINNED "/proc/keys", O_RDONLY);
}

/* Without what is mounted on it. */
static long look_behind(void)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc", COPY | O_CLOEXEC);
    return fd;
}

static long move_mask(void)
{
    /* a copy of the mounts, for those who come behind */
    int fd = unshare(CLONE_NEWNS) < 0 ? -1 : open("/sys/firmware", O_PATH | O_CLOEXEC);
    return syscall(SYS_move_mount, fd, "", AT_FDCWD, "/tmp", 4 /* MOVE_MOUNT_F_EMPTY_PATH */);
}

/* With submounts the copy has the masks, too: nothing is gained, and nothing left. */
static long copy_whole(void)
{
    int fd = (int)syscall(SYS_open_tree, AT_FDCWD, "/proc", COPY | RECURSIVE | O_CLOEXEC);
    char byte = 0;
    int file = fd < 0 ? -1 : openat(fd, "sys/kernel/core_pattern", O_WRONLY | O_CLOEXEC);
    return file < 0 ? -1 : write(file, &byte, 0);
}

int main(int argc, char **argv)
{
    bool control = argc > 1 && strcmp(argv[1], "control") == 0;
    if ((control ? pretend() : nest()) < 0) {
        perror("nested");
        return 1;
    }
    attempt("move_mask", move_mask);
    attempt("unmask_file", unmask_file);
    attempt("unmask_directory", unmask_directory);
    attempt("remount_writable", remount_writable);
    attempt("unmount_read_only", unmount_read_only);
    attempt("remount_bind_writable", remount_bind_writable);
    attempt("unmount_bind", unmount_bind);
    attempt("uncover_proc", uncover_proc);
    attempt("look_behind", look_behind);
    attempt("copy_whole", copy_whole);
    return 0;
}
