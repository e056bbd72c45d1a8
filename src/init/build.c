/* SPDX-License-Identifier: Apache-2.0 */
/* The sandbox's system tree: the clone as root, fresh proc, sysfs, devpts and tmpfs on it,
 * device nodes bound from the host, dangerous parts of proc and sys masked. Runs as root of the
 * sandbox's user namespace. The clone's content is hostile: what stands where a mount point is
 * needed and is no directory of its own is replaced in the clone, never followed. Where the
 * root comes later, all of this is made on a place holder, and moved. */
#include "init/init.h"
#include "init/mask.h"
#include "init/root.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/own_mounts.h"

#include <fcntl.h>
#include <net/if.h>
#include <stdio.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define HARDENED OWN_MOUNT_HARDENED

/* Opens the directory `name` of the root, after replacing whatever else stands there. */
static int mount_point(const char *name, bool keep, struct error *err)
{
    struct stat st;
    bool there = fstatat(AT_FDCWD, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
    if (there && !S_ISDIR(st.st_mode)) {
        if (keep)
            return fail(
                err, ERROR_INVALID, ENOTDIR,
                "/%s of the template is not a directory, and changes would persist; make "
                "it one, or use --storage=overlay",
                name);
        if (unlinkat(AT_FDCWD, name, 0) < 0)
            return fail(err, ERROR_SYSTEM, errno, "replace /%s: ", name);
        there = false;
    }
    if (!there && mkdirat(AT_FDCWD, name, 0755) < 0)
        return fail(err, ERROR_SYSTEM, errno, "make /%s: ", name);
    int fd = openat(AT_FDCWD, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? fail(err, ERROR_SYSTEM, errno, "open /%s: ", name) : fd;
}

static int attach_over(int take_mount, enum own_mount which, bool keep, struct error *err)
{
    const char *name = own_mounts[which].name;
    _cleanup_close_ int mount = take_mount;
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "new file system for /%s: ", name);
    _cleanup_close_ int place = mount_point(name, keep, err);
    if (place < 0)
        return place;
    int r = mount_attach(mount, place);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "mount /%s: ", name) : 0;
}

/* Makes the clone the root and forgets the host's mounts. proc must have been made before: the
 * kernel gives a new one only to who still sees an unmasked one. */
static int enter_root(int root_fd, struct error *err)
{
    int r = root_attach(root_fd, err);
    return r < 0 ? r : root_enter(err);
}

/* Attaches a host device node, as a detached mount, to /dev/NAME. */
static int bind_device(int dev_fd, int mount, const char *name)
{
    _cleanup_close_ int place =
        openat(dev_fd, name, O_CREAT | O_EXCL | O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0666);
    if (place < 0)
        return -errno;
    return mount_attach(mount, place);
}

static int make_dev_links(int dev_fd)
{
    static const struct {
        const char *target;
        const char *name;
    } links[] = {
        {"/proc/self/fd", "fd"},       {"/proc/self/fd/0", "stdin"},
        {"/proc/self/fd/1", "stdout"}, {"/proc/self/fd/2", "stderr"},
        {"pts/ptmx", "ptmx"},
    };
    for (size_t i = 0; i < ELEMENTS(links); i++)
        if (symlinkat(links[i].target, dev_fd, links[i].name) < 0)
            return -errno;
    return 0;
}

static int fill_dev(const int *fds, struct error *err)
{
    static const char *const nodes[_BUILD_FDS] = {
        [BUILD_FD_NULL] = "null",     [BUILD_FD_ZERO] = "zero",       [BUILD_FD_FULL] = "full",
        [BUILD_FD_RANDOM] = "random", [BUILD_FD_URANDOM] = "urandom", [BUILD_FD_TTY] = "tty",
    };
    _cleanup_close_ int dev = dir_open_at(AT_FDCWD, "dev");
    if (dev < 0)
        return fail(err, ERROR_SYSTEM, dev, "open /dev: ");
    for (int i = BUILD_FD_NULL; i <= BUILD_FD_TTY; i++) {
        int r = bind_device(dev, fds[i], nodes[i]);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "bind /dev/%s: ", nodes[i]);
    }
    int r = make_dev_links(dev);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "fill /dev: ");
    r = attach_over(own_mount_new(OWN_PTS), OWN_PTS, false, err);
    if (r == 0)
        r = attach_over(own_mount_new(OWN_SHM), OWN_SHM, false, err);
    return r;
}

/* A foreign engine makes a proc of its own, for which the kernel wants to see an unmasked one.
 */
static int harden(bool foreign, struct error *err)
{
    int r = mask_in_sys(err);
    return r < 0 || foreign ? r : mask_in_proc("/dev/null", err);
}

static int loopback_up(void)
{
    _cleanup_close_ int fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC, 0);
    struct ifreq request = {.ifr_flags = IFF_UP | IFF_RUNNING};
    memcpy(request.ifr_name, "lo", sizeof("lo"));
    return fd < 0 || ioctl(fd, SIOCSIFFLAGS, &request) < 0 ? -errno : 0;
}

int init_build(const int *fds, uint32_t flags, struct error *err)
{
    bool host_network = flags & BUILD_HOST_NETWORK;
    bool keep = flags & BUILD_KEEP_NODES;
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "make mounts private: ");
    _cleanup_close_ int proc = own_mount_new(OWN_PROC);
    if (proc < 0)
        return fail(err, ERROR_UNSUPPORTED, proc,
                    "new proc: the kernel gives one only where the host's /proc is not masked; "
                    "is isolate itself inside a container? ");
    int sys =
        host_network ? fcntl(fds[_BUILD_FDS], F_DUPFD_CLOEXEC, 3) : own_mount_new(OWN_SYS);
    r = enter_root(fds[BUILD_FD_ROOT], err);
    if (r < 0) {
        fd_close(sys);
        return r;
    }
    r = attach_over(sys, OWN_SYS, keep, err);
    if (r == 0)
        r = attach_over(TAKE_FD(proc), OWN_PROC, keep, err);
    if (r == 0)
        r = attach_over(own_mount_new(OWN_DEV), OWN_DEV, keep, err);
    if (r == 0)
        r = fill_dev(fds, err);
    if (r == 0)
        r = attach_over(own_mount_new(OWN_TMP), OWN_TMP, keep, err);
    if (r == 0)
        r = attach_over(own_mount_new(OWN_RUN), OWN_RUN, keep, err);
    if (r == 0)
        r = harden(flags & BUILD_FOREIGN, err);
    if (r == 0 && !host_network) {
        r = loopback_up();
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "bring up lo: ");
    }
    return r;
}

int init_change_root(int root_fd, uint32_t flags, struct error *err)
{
    static const enum own_mount moved[] = {OWN_SYS, OWN_PROC, OWN_DEV, OWN_TMP, OWN_RUN};
    int r = root_attach(root_fd, err);
    for (size_t i = 0; i < ELEMENTS(moved) && r == 0; i++) {
        const char *name = own_mounts[moved[i]].name;
        _cleanup_close_ int place = mount_point(name, flags & BUILD_KEEP_NODES, err);
        r = place < 0 ? place : root_move(name, place, err);
    }
    return r < 0 ? r : root_enter(err);
}
