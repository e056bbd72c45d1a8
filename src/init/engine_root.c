/* SPDX-License-Identifier: Apache-2.0 */
/* The root that a foreign engine finds, in a mount namespace of its own. Runs in init's child,
 * as root of the sandbox's user namespace. What comes from the sandbox's root was copied before
 * anything of a caller's was mounted there. */
#include "init/engine.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <limits.h>
#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

#define HARDENED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

/* Made ahead, because that takes longer than all else. */
static int make_network(void)
{
    _cleanup_close_ int own = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    if (own < 0 || unshare(CLONE_NEWNET) < 0)
        return -errno;
    _cleanup_close_ int made = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    int r = made < 0 ? -errno : made;
    if (setns(own, CLONE_NEWNET) < 0)
        return -errno;
    return r < 0 ? r : TAKE_FD(made);
}

int engine_place_take(struct engine_place *place, int take_usr_fd, uint32_t flags,
                      struct error *err)
{
    place->usr_fd = take_usr_fd;
    place->network_fd = flags & BUILD_APART ? make_network() : -EBADF;
    if ((flags & BUILD_APART) && place->network_fd < 0)
        return fail(err, ERROR_SYSTEM, place->network_fd, "engine: network namespace: ");
    place->dev_fd = mount_open_tree(AT_FDCWD, "/dev", true);
    return place->dev_fd < 0 ? fail(err, ERROR_SYSTEM, place->dev_fd, "copy /dev: ") : 0;
}

void engine_place_clear(struct engine_place *place)
{
    place->usr_fd = fd_close(place->usr_fd);
    place->dev_fd = fd_close(place->dev_fd);
    place->network_fd = fd_close(place->network_fd);
}

static int make_directories(struct error *err)
{
    static const char *const directories[] = {"usr", "dev", "proc", "sys",    "tmp",
                                              "run", "etc", "var",  "engine", ENGINE_NAME};
    static const char *const links[] = {"bin", "sbin", "lib", "lib32", "lib64", "libx32"};
    for (size_t i = 0; i < ELEMENTS(directories); i++)
        if (mkdir(directories[i], 0755) < 0)
            return fail(err, ERROR_SYSTEM, errno, "engine: its /%s: ", directories[i]);
    for (size_t i = 0; i < ELEMENTS(links); i++) {
        char target[16];
        (void)snprintf(target, sizeof(target), "usr/%s", links[i]);
        if (symlink(target, links[i]) < 0)
            return fail(err, ERROR_SYSTEM, errno, "engine: its /%s: ", links[i]);
    }
    return 0;
}

/* Its configuration; the paths are isolated's. */
static int write_files(const struct start_engine *engine, struct error *err)
{
    for (uint32_t i = 0; i < engine->n_files; i++) {
        const char *path = engine->files[i].path;
        const char *content = engine->files[i].content;
        _cleanup_close_ int fd =
            open(path + 1, O_CREAT | O_EXCL | O_WRONLY | O_CLOEXEC | O_NOFOLLOW, 0600);
        int r = fd < 0 ? -errno : fd_write_all(fd, content, strlen(content));
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "engine: its %s: ", path);
    }
    return 0;
}

/* The kernel gives a new sysfs only to who sees one that is not masked. */
static int attach_system(int sys, struct error *err)
{
    const char *const options[] = {"source", "cgroup2", NULL};
    _cleanup_close_ int cgroup = mount_new("cgroup2", options, HARDENED);
    int r = sys < 0 ? sys : cgroup < 0 ? cgroup : mount_attach_path(sys, "sys");
    if (r == 0)
        r = mount_attach_path(cgroup, "sys/fs/cgroup");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "engine: its /sys: ") : 0;
}

static int attach_mounts(const struct engine_place *place, int proc, struct error *err)
{
    const struct {
        int fd;
        const char *path;
    } mounts[] = {{place->usr_fd, "usr"}, {place->dev_fd, "dev"}, {proc, "proc"}};
    for (size_t i = 0; i < ELEMENTS(mounts); i++) {
        int r =
            mounts[i].fd < 0 ? mounts[i].fd : mount_attach_path(mounts[i].fd, mounts[i].path);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "engine: its /%s: ", mounts[i].path);
    }
    return 0;
}

/* Also what a caller has over it. */
static int detach_all(const char *path)
{
    int r = mount_detach(path);
    while (r == 0)
        r = mount_detach(path);
    return r == -EINVAL ? 0 : r; /* no mount any more */
}

/* Newer engines have left all else behind by the time that they want a new proc, for which the
 * kernel wants to see one. The inner init takes it away. */
static int pin_proc(void)
{
    static const char place[] = ENGINE_VIEW ENGINE_PINNED_PROC;
    _cleanup_close_ int proc = mount_open_tree(AT_FDCWD, "/proc", false);
    /* it is there where another engine was ended before it ran anything */
    int r = proc < 0 ? proc : mkdir(place, 0755) < 0 && errno != EEXIST ? -errno : 0;
    return r < 0 ? r : mount_attach_path(proc, place);
}

/* It makes directories that it finds missing in its root, which would stay, or be part of what
 * the command has changed; where it cannot write, it does without. The inner init lifts that.
 */
static int make_unwritable(void)
{
    _cleanup_close_ int root = open(ENGINE_ROOT, O_PATH | O_DIRECTORY | O_CLOEXEC);
    return root < 0 ? -errno : mount_set_attributes(root, false, MOUNT_ATTR_RDONLY, 0, -EBADF);
}

/* The engine makes a /dev of its own, over which it binds that of the view, and a /proc, where
 * none is yet. In /run it wants a mount of its own, which it makes read-only. */
static int make_view(void)
{
    static const char *const wanted[] = {ENGINE_VIEW "/run/host",
                                         ENGINE_VIEW "/run/host/incoming"};
    _cleanup_close_ int view = mount_open_tree(AT_FDCWD, ENGINE_ROOT, true);
    int r = view < 0 ? view : mkdir(ENGINE_VIEW, 0755) < 0 ? -errno : 0;
    if (r == 0)
        r = mount_attach_path(view, ENGINE_VIEW);
    for (size_t i = 0; i < ELEMENTS(wanted) && r == 0; i++)
        r = mkdir(wanted[i], 0755) < 0 && errno != EEXIST
                ? -errno
                : mount_classic(wanted[i], wanted[i], NULL, MS_BIND, NULL);
    if (r == 0)
        r = pin_proc();
    if (r == 0)
        r = detach_all(ENGINE_ROOT "/dev");
    if (r == 0)
        r = detach_all(ENGINE_ROOT "/proc");
    return r == 0 ? make_unwritable() : r;
}

/* In a child: a mount namespace of another user namespace's, which is sent. */
static int send_namespace(int socket_fd)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS) < 0)
        return -errno;
    _cleanup_close_ int fd = open("/proc/self/ns/mnt", O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : socket_send(socket_fd, "", 1, &fd, 1);
}

static int receive_namespace(struct fd_list *ret)
{
    int sockets[2];
    int status = 0;
    char byte = 0;
    int r = socket_pair(SOCK_SEQPACKET, sockets);
    if (r < 0)
        return r;
    _cleanup_close_ int ours = sockets[0];
    _cleanup_close_ int theirs = sockets[1];
    pid_t pid = fork();
    if (pid == 0)
        _exit(-send_namespace(theirs));
    fd_closep(&theirs);
    r = pid < 0 ? -errno : (int)socket_receive(ours, &byte, 1, 0, ret);
    if (pid > 0 && waitpid(pid, &status, 0) == pid && WIFEXITED(status) && WEXITSTATUS(status))
        r = -WEXITSTATUS(status);
    return r < 0 ? r : r == 1 && ret->n == 1 ? 0 : -EIO;
}

/* What a mount takes away (devices, set-id bits, writing) nobody gives back any more who gets
 * it by the copy of a mount namespace that is another user namespace's: mount_namespaces(7). So
 * it goes by way of one; the copy is the sandbox's own again, and so are its other namespaces.
 */
static int lock_mounts(void)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = receive_namespace(&fds);
    if (r < 0)
        return r;
    return setns(fds.fds[0], CLONE_NEWNS) < 0 || unshare(CLONE_NEWNS) < 0 ? -errno : 0;
}

/* A mount of the namespace that this process is in, which it leaves for the engine's own: an
 * abstract socket of the engine's is not to be seen by the sandbox. */
static int leave_network(const struct engine_place *place)
{
    _cleanup_close_ int namespace = open("/proc/self/ns/net", O_RDONLY | O_CLOEXEC);
    _cleanup_close_ int mount = namespace < 0 ? -errno : mount_open_tree(namespace, "", false);
    if (mount < 0)
        return mount;
    return setns(place->network_fd, CLONE_NEWNET) < 0 ? -errno : TAKE_FD(mount);
}

static int attach_network(int network)
{
    _cleanup_close_ int place =
        open(&ENGINE_NETWORK[1], O_CREAT | O_EXCL | O_RDONLY | O_CLOEXEC | O_NOFOLLOW, 0400);
    return place < 0 ? -errno : mount_attach(network, place);
}

int engine_enter_root(const struct engine_place *place, const struct start_engine *engine,
                      struct error *err)
{
    const char *const options[] = {"source", "engine", "mode", "0755", NULL};
    bool system = engine->flags & START_ENGINE_SYSTEM;
    if (unshare(CLONE_NEWNS) < 0)
        return fail(err, ERROR_SYSTEM, errno, "engine: mount namespace: ");
    _cleanup_close_ int proc = mount_open_tree(AT_FDCWD, "/proc", false);
    _cleanup_close_ int sys = system ? mount_open_tree(AT_FDCWD, "/sys", false) : -EBADF;
    bool apart = engine->flags & START_ENGINE_APART;
    _cleanup_close_ int network = apart ? leave_network(place) : -EBADF;
    if (apart && network < 0)
        return fail(err, ERROR_SYSTEM, network, "engine: network namespace: ");
    _cleanup_close_ int root =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    int r = root < 0 ? root : mount_attach_path(root, "/");
    if (r == 0 && fchdir(root) < 0)
        r = -errno;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "engine: its root: ");
    r = make_directories(err);
    if (r == 0)
        r = write_files(engine, err);
    if (r == 0)
        r = attach_mounts(place, proc, err);
    if (r == 0 && system)
        r = attach_system(sys, err);
    if (r < 0)
        return r;
    r = apart ? attach_network(network) : 0;
    if (r == 0)
        r = mount_pivot_root(".", ENGINE_NAME);
    if (r == 0 && chdir("/") < 0)
        r = -errno;
    if (r == 0 && (engine->flags & START_ENGINE_VIEW))
        r = make_view();
    if (r == 0 && (engine->flags & START_ENGINE_LOCKED))
        r = lock_mounts();
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "engine: enter its root: ") : 0;
}
