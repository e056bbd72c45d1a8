/* SPDX-License-Identifier: Apache-2.0 */
/* Sending subvolumes. Runs in isolate-image as root: the kernel writes the stream into a pipe,
 * for a child that waits for it. btrfs(5), ioctl BTRFS_IOC_SEND. */
#include "image/child.h"
#include "image/send.h"
#include "image/sink.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <signal.h>
#include <sys/ioctl.h>

static int subvolume_id(int fd, __u64 *ret)
{
    struct btrfs_ioctl_ino_lookup_args arguments = {.objectid = BTRFS_FIRST_FREE_OBJECTID};
    if (ioctl(fd, BTRFS_IOC_INO_LOOKUP, &arguments) < 0)
        return -errno;
    *ret = arguments.treeid;
    return 0;
}

static int send_subvolume(int root_fd, int base_fd, int to_fd, struct error *err)
{
    struct btrfs_ioctl_send_args arguments = {.send_fd = to_fd};
    _cleanup_close_ int root = dir_open_at(root_fd, ".");
    _cleanup_close_ int base = base_fd < 0 ? -EBADF : dir_open_at(base_fd, ".");
    int r = root < 0 ? root : 0;
    if (r == 0 && base_fd >= 0)
        r = base < 0 ? base : subvolume_id(base, &arguments.parent_root);
    if (r == 0 && ioctl(root, BTRFS_IOC_SEND, &arguments) < 0)
        r = -errno;
    if (r == -EPERM)
        return fail(err, ERROR_SYSTEM, r,
                    "btrfs does not send it: it was removed meanwhile, or is not read-only: ");
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "btrfs does not send it (%s); send it without --native: ",
                        base_fd < 0 ? "all of it" : "what has changed")
                 : 0;
}

static _Noreturn void send_in_child(const struct image_child *child, int root_fd, int base_fd,
                                    int to_fd)
{
    struct error err = {0};
    (void)signal(SIGPIPE, SIG_IGN); /* who reads may end */
    image_child_exit(child, send_subvolume(root_fd, base_fd, to_fd, &err), &err);
}

int image_send_btrfs(int root_fd, int base_fd, struct sink *sink, struct progress *progress,
                     struct error *err)
{
    int ends[2];
    struct image_child child = {.error_fd = -EBADF};
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "send: ");
    _cleanup_close_ int from = ends[0];
    _cleanup_close_ int to = ends[1];
    int r = image_child_fork("send", &child, err);
    if (r < 0)
        return r;
    if (child.pid == 0) {
        fd_closep(&from);
        send_in_child(&child, root_fd, base_fd, to);
    }
    fd_closep(&to);
    r = sink_copy(sink, from, "read what btrfs sends", progress, err);
    fd_closep(&from); /* one that goes on writing ends by that */
    int sent = image_child_wait(&child, "send", progress, r < 0 ? NULL : err);
    return r < 0 ? r : sent;
}
