/* SPDX-License-Identifier: Apache-2.0 */
/* The pod: every namespace, an id range of the sandbox's own, init from a sealed memfd. Runs in
 * isolated as root; the clone itself is native_clone.c's, in the nursery where there is one. */
#include "engine/pod.h"
#include "engine/native_clone.h"
#include "sys/fd.h"
#include "sys/filter.h"
#include "sys/filter_walk.h"
#include "sys/mount.h"
#include "sys/packet.h"

#include <fcntl.h>
#include <linux/filter.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/sysmacros.h>

static int ask_nursery(int nursery_fd, const struct native_order *order,
                       struct native_child *ret, struct error *err)
{
    _cleanup_packet_ struct packet answer = {0};
    const struct packet packet = {
        .type = NURSERY_CLONE,
        .id = order->first_id,
        .value = (order->host_network ? NURSERY_HOST_NETWORK : 0) |
                 (order->host_ids ? NURSERY_HOST_IDS : 0),
        .fds = {_NURSERY_FDS,
                {[NURSERY_FD_CGROUP] = order->cgroup_fd,
                 [NURSERY_FD_PARK] = order->park_fd,
                 [NURSERY_FD_INIT] = order->init_fd,
                 [NURSERY_FD_NULL] = order->null_fd}},
    };
    *ret = (struct native_child){.pidfd = -EBADF, .userns_fd = -EBADF};
    int r = packet_send(nursery_fd, &packet, NULL, 0, 0);
    if (r == 0) {
        r = packet_receive(nursery_fd, 0, &answer);
        /* an answer that is still to come would be taken for that to the next order: another
         * sandbox's namespaces. isolated starts both anew */
        if (r <= 0)
            (void)shutdown(nursery_fd, SHUT_RDWR);
    }
    if (r <= 0)
        return fail(err, ERROR_SYSTEM, r < 0 ? r : -ECONNRESET, "sandbox: the nursery: ");
    if (answer.fds.n >= 1)
        ret->pidfd = TAKE_FD(answer.fds.fds[0]);
    if (answer.fds.n >= 2)
        ret->userns_fd = TAKE_FD(answer.fds.fds[1]);
    ret->pid = (pid_t)answer.id; /* of what has been made, even where the rest failed */
    if (answer.value < 0 || (ret->userns_fd < 0 && !order->host_ids))
        return fail(err, ERROR_SYSTEM, 0, "%s",
                    answer.payload.data ? answer.payload.data : "sandbox: the nursery failed");
    return 0;
}

int pod_spawn(const struct engine_shape *shape, struct engine_instance *ret, struct error *err)
{
    struct native_child child;
    int pair[2];
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (null_fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "sandbox: /dev/null: ");
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "sandbox: park socket: ");
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    /* nothing that init leaves unread may hold isolated up */
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return fail(err, ERROR_SYSTEM, errno, "sandbox: park socket: ");
    socket_refuse_fds(ours);
    const struct native_order order = {
        .first_id = shape->first_id,
        .host_network = shape->host_network,
        .host_ids = shape->host_ids,
        .cgroup_fd = shape->cgroup_fd,
        .park_fd = theirs,
        .init_fd = shape->init_fd,
        .null_fd = null_fd,
    };
    r = shape->nursery_fd >= 0 ? ask_nursery(shape->nursery_fd, &order, &child, err)
                               : native_clone(&order, &child, err);
    /* once the process exists the caller gets it even when the rest fails */
    if (child.pidfd >= 0)
        *ret = (struct engine_instance){
            .pid = child.pid,
            .pidfd = child.pidfd,
            .park_fd = TAKE_FD(ours),
            .userns_fd = child.userns_fd,
        };
    if (r < 0)
        return r;
    r = socket_send(ret->park_fd, "", 1, NULL, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: start init: ") : 0;
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

/* A detached mount of a part of the host. */
static int open_host(const char *path, uint64_t attributes)
{
    _cleanup_close_ int fd = mount_open_tree(AT_FDCWD, path, false);
    if (fd < 0)
        return fd;
    int r = mount_set_attributes(
        fd, false, MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | attributes, 0,
        -EBADF);
    return r < 0 ? r : TAKE_FD(fd);
}

static int add_host(struct fd_list *fds, const char *path, uint64_t attributes,
                    struct error *err)
{
    int fd = open_host(path, attributes);
    int r = fd < 0 ? fd : fd_list_add(fds, fd);
    return r < 0 ? fail(err, ERROR_UNSUPPORTED, r, "sandbox: the host's %s: ", path) : 0;
}

static int collect_build_fds(struct fd_list *fds, const struct engine_shape *shape,
                             struct error *err)
{
    static const struct {
        const char *path;
        unsigned major;
        unsigned minor;
    } devices[] = {
        {"/dev/null", 1, 3},   {"/dev/zero", 1, 5},    {"/dev/full", 1, 7},
        {"/dev/random", 1, 8}, {"/dev/urandom", 1, 9}, {"/dev/tty", 5, 0},
    };
    for (size_t i = 0; i < ELEMENTS(devices); i++) {
        int fd = open_device(devices[i].path, devices[i].major, devices[i].minor);
        int r = fd < 0 ? fd : fd_list_add(fds, fd);
        if (r < 0)
            return fail(err, ERROR_UNSUPPORTED, r, "sandbox: the host's %s: ", devices[i].path);
    }
    int listener = fcntl(shape->listen_fd, F_DUPFD_CLOEXEC, 3);
    int added = listener < 0 ? -errno : fd_list_add(fds, listener);
    if (added < 0)
        return fail(err, ERROR_SYSTEM, added, "sandbox: listening socket: ");
    int r = shape->host_network ? add_host(fds, "/sys", MOUNT_ATTR_NOEXEC, err) : 0;
    return r == 0 && shape->foreign ? add_host(fds, "/usr", 0, err) : r;
}

int pod_build(const struct engine_instance *instance, const struct engine_shape *shape,
              int root_mount_fd, struct error *err)
{
    _cleanup_fd_list_ struct fd_list fds = {0};
    struct message message = {
        .type = MESSAGE_BUILD,
        .value = (shape->host_network ? BUILD_HOST_NETWORK : 0) |
                 (shape->persistent ? BUILD_KEEP_NODES : 0) |
                 (shape->own_pages ? BUILD_OWN_PAGES : 0) |
                 (shape->root_later ? BUILD_ROOT_LATER : 0) |
                 (shape->foreign ? BUILD_FOREIGN : 0) | (shape->apart ? BUILD_APART : 0),
    };
    int copy = fcntl(root_mount_fd, F_DUPFD_CLOEXEC, 3);
    int r = copy < 0 ? -errno : fd_list_add(&fds, copy);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "sandbox: root: ");
    r = collect_build_fds(&fds, shape, err);
    if (r < 0)
        return r;
    r = message_send(instance->park_fd, &message, fds.fds, fds.n);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: build: ") : 0;
}

int pod_enter(const struct engine_instance *instance, int root_mount_fd, bool persistent,
              struct error *err)
{
    const struct message message = {.type = MESSAGE_ROOT,
                                    .value = persistent ? BUILD_KEEP_NODES : 0};
    int r = message_send(instance->park_fd, &message, &root_mount_fd, 1);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: root: ") : 0;
}

/* The filters as a memfd, made once for each set of flags: it is sealed, so all may have it. */
static int filter_memfd(uint32_t flags)
{
    static int made[FILTER_FLAGS_MAX + 1];
    size_t length = 0;
    if (made[flags] > 0)
        return made[flags];
    const void *filter = filter_programs(flags, &length);
    int fd = memfd_sealed("isolate-filter", filter, length, 0600);
    if (fd > 0)
        made[flags] = fd;
    return fd;
}

/* The same with one more program, which is only this sandbox's. */
static int profile_memfd(const struct engine_claim *claim)
{
    size_t length = 0;
    _cleanup_buffer_ struct buffer programs = {0};
    const void *base = filter_programs(claim->filter_flags, &length);
    const struct filter_program header = {
        .n_instructions = (uint32_t)(claim->profile_length / sizeof(struct sock_filter)),
        .when = FILTER_LATE,
    };
    buffer_append(&programs, base, length);
    buffer_append(&programs, &header, sizeof(header));
    buffer_append(&programs, claim->profile, claim->profile_length);
    return programs.failed
               ? -ENOMEM
               : memfd_sealed("isolate-filter", programs.data, programs.length, 0600);
}

static int start_memfd(const struct start *start, struct error *err)
{
    _cleanup_buffer_ struct buffer spec = {0};
    int r = start_encode(start, &spec, err);
    if (r < 0)
        return r;
    int fd = memfd_of("isolate-start", spec.data, spec.length, 0600);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "sandbox: memfd: ") : fd;
}

int pod_prepare(const struct engine_instance *instance, const struct start *start,
                struct error *err)
{
    const struct message message = {.type = MESSAGE_PREPARE};
    int filter_fd = filter_memfd(0);
    _cleanup_close_ int spec_fd = start_memfd(start, err);
    if (spec_fd < 0)
        return spec_fd;
    if (filter_fd < 0)
        return fail(err, ERROR_SYSTEM, filter_fd, "sandbox: memfd: ");
    _cleanup_fd_list_ struct fd_list usr = {0};
    int r = start->engine.n_argv > 0 ? add_host(&usr, "/usr", 0, err) : 0;
    if (r < 0)
        return r;
    const int fds[_PREPARE_FDS_MAX] = {
        [PREPARE_FD_SPEC] = spec_fd,
        [PREPARE_FD_FILTER] = filter_fd,
        [PREPARE_FD_USR] = usr.n > 0 ? usr.fds[0] : -EBADF,
    };
    r = message_send(instance->park_fd, &message, fds, _PREPARE_FDS + usr.n);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: prepare: ") : 0;
}

int pod_claim(const struct engine_instance *instance, const struct engine_claim *claim,
              struct error *err)
{
    struct start start = *claim->start;
    int fds[_START_FDS + START_BINDS + 1];
    size_t n = _START_FDS;
    if (claim->prepared && claim->filter_flags == 0 && !claim->profile)
        start.flags |= START_PREPARED;
    _cleanup_close_ int own_filter_fd = claim->profile ? profile_memfd(claim) : -EBADF;
    int filter_fd = claim->profile ? own_filter_fd : filter_memfd(claim->filter_flags);
    _cleanup_close_ int spec_fd = start_memfd(&start, err);
    if (spec_fd < 0)
        return spec_fd;
    if (filter_fd < 0)
        return fail(err, ERROR_SYSTEM, filter_fd, "sandbox: memfd: ");
    fds[START_FD_SPEC] = spec_fd;
    fds[START_FD_FILTER] = filter_fd;
    fds[START_FD_CONTROL] = claim->control_fd;
    for (uint32_t i = 0; i < claim->start->n_binds; i++)
        fds[n++] = claim->mounts[i];
    if (start.cpu_time_ms > 0)
        fds[n++] = claim->cpu_stat_fd;
    struct message message = {.type = MESSAGE_START};
    int r = message_send(instance->park_fd, &message, fds, n);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: start: ") : 0;
}
