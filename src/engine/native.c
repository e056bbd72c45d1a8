/* SPDX-License-Identifier: Apache-2.0 */
/* The native engine: every namespace, an id range of the sandbox's own, init from a sealed
 * memfd. Runs in isolated as root. Between clone3 and exec the child only makes raw system
 * calls; the order clone3, id maps, setresuid to the mapped 0, exec is what gives init its
 * capabilities and the memfd's owner (host root, mode 0111) what keeps the sandbox from reading
 * or tracing it. */
#include "engine/engines.h"
#include "sys/fd.h"
#include "sys/filter.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <grp.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <unistd.h>

#define NAMESPACES                                                                             \
    (CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

enum { CHILD_PARK_FD = 3, CHILD_INIT_FD = 4 };

/* In the new namespaces, before exec. Nothing is left of isolated's fds but the two. */
static _Noreturn void child(int park_fd, int init_fd, int null_fd)
{
    char go = 0;
    char *const argv[] = {(char *)"isolate-init", NULL};
    char *const environment[] = {NULL};
    /* out of the way of the numbers that they get */
    park_fd = fcntl(park_fd, F_DUPFD_CLOEXEC, CHILD_INIT_FD + 1);
    init_fd = fcntl(init_fd, F_DUPFD_CLOEXEC, CHILD_INIT_FD + 1);
    if (dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 || dup2(null_fd, 2) < 0)
        _exit(1);
    if (dup3(init_fd, CHILD_INIT_FD, O_CLOEXEC) < 0 || dup2(park_fd, CHILD_PARK_FD) < 0)
        _exit(1);
    if (close_from(CHILD_INIT_FD + 1) < 0)
        _exit(1);
    if (recv(CHILD_PARK_FD, &go, 1, 0) != 1)
        _exit(1);
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, 0, 0, 0) < 0 ||
        syscall(SYS_setresuid, 0, 0, 0) < 0)
        _exit(1);
    (void)!exec_fd(CHILD_INIT_FD, argv, environment);
    _exit(1);
}

static int give_maps(pid_t pid, const struct engine_shape *shape, struct error *err)
{
    const struct id_map map = {0, shape->first_id, USERNS_RANGE};
    int r = userns_write_maps(pid, &map, 1, &map, 1);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "native: map ids %u…: ", shape->first_id) : 0;
}

static int native_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                        struct error *err)
{
    struct engine_instance instance = ENGINE_INSTANCE_NONE;
    int pair[2];
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    int r = null_fd < 0 ? -errno : socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "native: park socket: ");
    instance.park_fd = pair[0];
    _cleanup_close_ int child_end = pair[1];
    uint64_t flags = NAMESPACES | (shape->host_network ? 0 : CLONE_NEWNET);
    instance.pid = process_clone(flags, shape->cgroup_fd, &instance.pidfd);
    if (instance.pid == 0)
        child(child_end, shape->init_fd, null_fd);
    if (instance.pid < 0) {
        r = fail(err, ERROR_SYSTEM, instance.pid,
                 "native: new namespaces (see `isolate doctor`): ");
        engine_instance_clear(&instance);
        return r;
    }
    /* from here on the process exists: the caller gets it even when the rest fails */
    *ret = instance;
    r = give_maps(instance.pid, shape, err);
    if (r < 0)
        return r;
    ret->userns_fd = userns_open(instance.pid);
    if (ret->userns_fd < 0)
        return fail(err, ERROR_SYSTEM, ret->userns_fd, "native: open the user namespace: ");
    r = socket_send(ret->park_fd, "", 1, NULL, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "native: start init: ") : 0;
}

/* A detached mount of one of the host's device nodes, after a look at what it is. */
static int open_device(const char *path, unsigned major, unsigned minor)
{
    struct stat st;
    _cleanup_close_ int fd = mount_open_tree(AT_FDCWD, path, false);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0 || !S_ISCHR(st.st_mode) || st.st_rdev != makedev(major, minor))
        return -ENODEV;
    int r = mount_set_attributes(fd, false, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC, 0, -EBADF);
    return r < 0 ? r : TAKE_FD(fd);
}

static int open_host_sys(void)
{
    _cleanup_close_ int fd = mount_open_tree(AT_FDCWD, "/sys", false);
    if (fd < 0)
        return fd;
    int r = mount_set_attributes(
        fd, false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC,
        0, -EBADF);
    return r < 0 ? r : TAKE_FD(fd);
}

static int collect_build_fds(struct fd_list *fds, const struct engine_shape *shape,
                             struct error *err)
{
    static const struct {
        const char *path;
        unsigned minor;
        unsigned major;
    } devices[] = {
        {"/dev/null", 3, 1},   {"/dev/zero", 5, 1},    {"/dev/full", 7, 1},
        {"/dev/random", 8, 1}, {"/dev/urandom", 9, 1}, {"/dev/tty", 0, 5},
    };
    for (size_t i = 0; i < ELEMENTS(devices); i++) {
        int fd = open_device(devices[i].path, devices[i].major, devices[i].minor);
        int r = fd < 0 ? fd : fd_list_add(fds, fd);
        if (r < 0)
            return fail(err, ERROR_UNSUPPORTED, r, "native: the host's %s: ", devices[i].path);
    }
    if (!shape->host_network)
        return 0;
    int fd = open_host_sys();
    int r = fd < 0 ? fd : fd_list_add(fds, fd);
    return r < 0 ? fail(err, ERROR_UNSUPPORTED, r, "native: the host's /sys: ") : 0;
}

static int native_build(const struct engine_instance *instance,
                        const struct engine_shape *shape, int root_mount_fd, struct error *err)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    struct message message = {
        .type = MESSAGE_BUILD,
        .value = (shape->host_network ? BUILD_HOST_NETWORK : 0) |
                 (shape->persistent ? BUILD_KEEP_NODES : 0),
    };
    int copy = fcntl(root_mount_fd, F_DUPFD_CLOEXEC, 3);
    int r = copy < 0 ? -errno : fd_list_add(&fds, copy);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "native: root: ");
    r = collect_build_fds(&fds, shape, err);
    if (r < 0)
        return r;
    r = message_send(instance->park_fd, &message, fds.fds, fds.n);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "native: build: ") : 0;
}

static int native_claim(const struct engine_instance *instance,
                        const struct engine_claim *claim, struct error *err)
{
    _cleanup_buffer_ struct buffer spec = {0};
    size_t filter_length = 0;
    const void *filter = filter_programs(claim->filter_flags, &filter_length);
    int fds[_START_FDS + START_BINDS];
    int r = start_encode(claim->start, &spec, err);
    if (r < 0)
        return r;
    _cleanup_close_ int spec_fd = memfd_sealed("isolate-start", spec.data, spec.length, 0600);
    _cleanup_close_ int filter_fd = memfd_sealed("isolate-filter", filter, filter_length, 0600);
    if (spec_fd < 0 || filter_fd < 0)
        return fail(err, ERROR_SYSTEM, spec_fd < 0 ? spec_fd : filter_fd, "native: memfd: ");
    fds[START_FD_SPEC] = spec_fd;
    fds[START_FD_FILTER] = filter_fd;
    fds[START_FD_CONTROL] = claim->control_fd;
    for (uint32_t i = 0; i < claim->start->n_binds; i++)
        fds[_START_FDS + i] = claim->mounts[i];
    struct message message = {.type = MESSAGE_START};
    r = message_send(instance->park_fd, &message, fds, _START_FDS + claim->start->n_binds);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "native: start: ") : 0;
}

const struct engine engine_native = {
    .name = "native",
    .isolates = true,
    .spawn = native_spawn,
    .build = native_build,
    .claim = native_claim,
};
