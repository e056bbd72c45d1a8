/* SPDX-License-Identifier: Apache-2.0 */
/* See mount_child.h. Runs as root in isolated and in isolate-ctl. */
#include "sys/mount_child.h"

#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/mount.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/wait.h>

static int receive_mount(int socket)
{
    int result = 0;
    _cleanup_fd_list_ struct fd_list list = {0};
    ssize_t n = socket_receive(socket, &result, sizeof(result), 0, &list);
    if (n < 0)
        return (int)n;
    if (n != (ssize_t)sizeof(result) || result > 0 || (result == 0 && list.n != 1))
        return -EIO; /* it was killed */
    return result < 0 ? result : TAKE_FD(list.fds[0]);
}

int mount_by_child(uint64_t namespaces, int (*make)(const void *data), const void *data)
{
    int pair[2];
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return r;
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int pidfd = -EBADF;
    pid_t pid = process_clone(namespaces, -EBADF, &pidfd);
    if (pid == 0) {
        int mount = make(data);
        int result = mount < 0 ? mount : 0;
        _exit(socket_send(pair[1], &result, sizeof(result), &mount, mount < 0 ? 0 : 1) < 0);
    }
    fd_close(pair[1]);
    if (pid < 0)
        return pid;
    r = receive_mount(ours);
    (void)waitpid(pid, NULL, __WALL);
    return r;
}

int mount_enter_place(void)
{
    int r = mount_classic(NULL, "/", NULL, MS_PRIVATE, NULL);
    if (r < 0)
        return r;
    _cleanup_close_ int scratch =
        mount_new("tmpfs", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    r = scratch < 0 ? scratch : mount_attach_path(scratch, "/");
    if (r < 0)
        return r;
    return fchdir(scratch) < 0 || mkdir(MOUNT_PLACE, 0700) < 0 ? -errno : 0;
}

/* On a directory that is there anyway: with "/" covered it counted as a chroot, and from there
 * no user namespace is made. */
#define LOCK_PLACE "/proc"

static int copy_place(const void *data)
{
    return mount_open_tree(AT_FDCWD, LOCK_PLACE, false);
}

static int attach_and_copy(const void *data)
{
    const int *mount = data;
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (r == 0)
        r = mount_attach_path(*mount, LOCK_PLACE);
    return r < 0 ? r : mount_by_child(CLONE_NEWUSER | CLONE_NEWNS, copy_place, NULL);
}

int mount_locked(int mount_fd)
{
    return mount_by_child(CLONE_NEWNS, attach_and_copy, &mount_fd);
}
