/* SPDX-License-Identifier: Apache-2.0 */
/* The root of isolate-network and of pasta: the machine's programs and libraries read-only, a
 * proc and a /dev/net/tun of their own, and a /tmp with the sandbox's namespaces. So no mount
 * of the machine is held, and no log or socket of it can be reached. Runs as root; no outside
 * input.
 */
#include "network/network.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define HARDENED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* A part of the machine at the same place of the new root, which is the working directory. What
 * is a symbolic link there is one here; what is missing there is missing here. */
static int show(const char *path, uint64_t attributes)
{
    struct stat st;
    char source[PATH_MAX];
    char target[PATH_MAX];
    (void)snprintf(source, sizeof(source), "/%s", path);
    if (lstat(source, &st) < 0)
        return errno == ENOENT ? 0 : -errno;
    if (S_ISLNK(st.st_mode)) {
        ssize_t n = readlink(source, target, sizeof(target) - 1);
        target[n > 0 ? n : 0] = '\0';
        return n <= 0 || symlink(target, path) < 0 ? -errno : 0;
    }
    _cleanup_close_ int mount = mount_open_tree(AT_FDCWD, source, false);
    if (mount < 0)
        return mount;
    int r = mount_set_attributes(mount, false, MOUNT_ATTR_NOSUID | attributes, 0, -EBADF);
    if (r < 0)
        return r;
    if (S_ISDIR(st.st_mode) && mkdir(path, 0755) < 0)
        return -errno;
    _cleanup_close_ int place = open(
        path, S_ISDIR(st.st_mode) ? O_PATH | O_CLOEXEC : O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return place < 0 ? -errno : mount_attach(mount, place);
}

static int show_machine(struct error *err)
{
    static const struct {
        const char *path;
        uint64_t attributes;
    } parts[] = {
        {"usr", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"bin", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"sbin", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"lib", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"lib32", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"lib64", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"libx32", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
        {"etc/ld.so.cache", MOUNT_ATTR_RDONLY | MOUNT_ATTR_NODEV},
    };
    for (size_t i = 0; i < ELEMENTS(parts); i++) {
        int r = show(parts[i].path, parts[i].attributes);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "network: the machine's /%s: ", parts[i].path);
    }
    return 0;
}

/* Of its own: who may open the machine's is the machine's choice. */
static int make_devices(void)
{
    static const struct {
        const char *path;
        unsigned major;
        unsigned minor;
    } devices[] = {{"dev/null", 1, 3}, {"dev/net/tun", 10, 200}};
    for (size_t i = 0; i < ELEMENTS(devices); i++)
        if (mknod(devices[i].path, S_IFCHR, makedev(devices[i].major, devices[i].minor)) < 0 ||
            chmod(devices[i].path, 0666) < 0)
            return -errno;
    return 0;
}

/* A namespace is a file to those who can only open paths. */
static int show_namespace(int fd, const char *path)
{
    char source[32];
    _cleanup_close_ int place = open(path, O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    (void)snprintf(source, sizeof(source), "/proc/self/fd/%d", fd);
    return place < 0 ? -errno : mount_classic(source, path, NULL, MS_BIND, NULL);
}

static int fill_tmp(const struct network_order *order, const int *fds)
{
    int r = show_namespace(fds[NETWORK_FD_USER], &NETWORK_PATH_USER[1]);
    if (r == 0)
        r = show_namespace(fds[NETWORK_FD_NET], &NETWORK_PATH_NET[1]);
    if (r < 0)
        return r;
    const char *ready = &NETWORK_PATH_READY[1];
    return mkfifo(ready, 0600) < 0 || chown(ready, order->uid, order->uid) < 0 ||
                   chown("tmp", order->uid, order->uid) < 0
               ? -errno
               : 0;
}

/* pasta takes what it forwards to from there. */
static int write_resolver(const struct network_order *order)
{
    char line[80];
    (void)snprintf(line, sizeof(line), "nameserver %.45s\n", order->resolver);
    _cleanup_close_ int fd =
        open("etc/resolv.conf", O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd_write_all(fd, line, *order->resolver ? strlen(line) : 0);
}

static int new_proc(void)
{
    const char *const options[] = {NULL};
    _cleanup_close_ int proc = mount_new("proc", options, HARDENED);
    _cleanup_close_ int place = open("proc", O_PATH | O_DIRECTORY | O_CLOEXEC);
    return proc < 0 ? proc : place < 0 ? -errno : mount_attach(proc, place);
}

static int make_root(void)
{
    static const char *const directories[] = {"etc", "dev", "dev/net", "proc", "tmp"};
    const char *const options[] = {"source", "isolate-network", "mode", "0755", "size", "64k",
                                   NULL};
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    _cleanup_close_ int root = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID);
    if (r < 0 || root < 0)
        return r < 0 ? r : root;
    /* over a directory that is hidden for this process alone; the machine is still to be seen
     */
    r = mount_attach_path(root, "/tmp");
    if (r == 0 && fchdir(root) < 0)
        r = -errno;
    for (size_t i = 0; r == 0 && i < ELEMENTS(directories); i++)
        if (mkdir(directories[i], 0755) < 0)
            r = -errno;
    return r;
}

int place_enter(const struct network_order *order, const int *fds, struct error *err)
{
    int r = make_root();
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "network: a small root: ");
    r = show_machine(err);
    if (r < 0)
        return r;
    r = make_devices();
    if (r == 0)
        r = fill_tmp(order, fds);
    if (r == 0)
        r = write_resolver(order);
    if (r == 0)
        r = new_proc();
    if (r == 0)
        r = mount_pivot_root(".", ".");
    if (r == 0)
        r = mount_detach(".");
    if (r == 0 && chdir("/") < 0)
        r = -errno;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "network: a small root: ") : 0;
}
