/* SPDX-License-Identifier: Apache-2.0 */
/* See native_clone.h. Runs as root, in the nursery or in isolated. Between clone3 and exec the
 * child only makes raw system calls; the order clone3, id maps, setresuid to the mapped 0, exec
 * is what gives init its capabilities and the memfd's owner (host root, mode 0111) what keeps
 * the sandbox from reading or tracing it. */
#include "engine/native_clone.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <unistd.h>

#define NAMESPACES (CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWUTS | CLONE_NEWIPC | CLONE_NEWCGROUP)

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

static int give_maps(pid_t pid, uint32_t first_id, struct error *err)
{
    const struct id_map map = {0, first_id, USERNS_RANGE};
    int r = userns_write_maps(pid, &map, 1, &map, 1);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox: map ids %u…: ", first_id) : 0;
}

uint64_t native_namespaces(bool host_network, bool host_ids)
{
    return NAMESPACES | (host_network ? 0 : CLONE_NEWNET) | (host_ids ? 0 : CLONE_NEWUSER);
}

int native_clone(const struct native_order *order, struct native_child *ret, struct error *err)
{
    uint64_t flags = native_namespaces(order->host_network, order->host_ids) |
                     (order->sibling ? CLONE_PARENT : 0);
    *ret = (struct native_child){.pidfd = -EBADF, .userns_fd = -EBADF};
    ret->pid = order->host_ids
                   ? process_clone(flags, order->cgroup_fd, &ret->pidfd)
                   : userns_clone(flags, order->first_id, order->cgroup_fd, &ret->pidfd);
    if (ret->pid == 0)
        child(order->park_fd, order->init_fd, order->null_fd);
    if (ret->pid < 0)
        return fail(err, ERROR_SYSTEM, ret->pid,
                    "sandbox: new namespaces (see `isolate doctor`): ");
    int r = order->host_ids ? 0 : give_maps(ret->pid, order->first_id, err);
    if (r < 0 || order->host_ids)
        return r;
    ret->userns_fd = userns_open(ret->pid);
    return ret->userns_fd < 0
               ? fail(err, ERROR_SYSTEM, ret->userns_fd, "sandbox: open the user namespace: ")
               : 0;
}
