/* SPDX-License-Identifier: Apache-2.0 */
/* See devices.h. Runs in isolated as root. Of the caller's fd only the device's number counts,
 * and the file system that it is from is not asked. The sandbox gets a node of its own, because
 * the machine's belongs to ids that nobody has inside. */
#include "daemon/devices.h"

#include "base/text.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <string.h>
#include <sys/fsuid.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/sysmacros.h>
#include <sys/wait.h>
#include <unistd.h>

static int number_of(const struct run_bind *bind, int fd, dev_t *ret, struct error *err)
{
    struct statx st = {0};
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_TYPE, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "device %.200s: ", bind->source);
    if (S_ISBLK(st.stx_mode))
        return fail(err, ERROR_DENIED, EPERM,
                    "device %.200s: is a block device: whoever has it has the file systems on "
                    "it; mount it on the machine and use --bind",
                    bind->source);
    if (!S_ISCHR(st.stx_mode))
        return fail(err, ERROR_INVALID, ENODEV, "device %.200s: is no device", bind->source);
    *ret = makedev(st.stx_rdev_major, st.stx_rdev_minor);
    return 0;
}

/* Below /dev of the sandbox, where its own devices are: an engine may forbid them elsewhere. */
static int check_target(const struct run_bind *bind, struct error *err)
{
    const char *rest = text_after(bind->target, "/dev/");
    if (bind->read_only || bind->recursive)
        return fail(err, ERROR_INVALID, EINVAL,
                    "device %.200s: is read and written as its driver has it; there are no "
                    "options",
                    bind->source);
    return rest && *rest ? 0
                         : fail(err, ERROR_INVALID, EINVAL,
                                "device %.200s: \"%.200s\" is not below /dev of the sandbox",
                                bind->source, bind->target);
}

/* Runs until its end, which comes at once. */
static int status_of(pid_t pid)
{
    int status = 0;
    if (waitpid(pid, &status, 0) < 0)
        return -errno;
    return WIFEXITED(status) ? -WEXITSTATUS(status) : -EIO;
}

/* Whether the caller could open it: 0 or -errno. path is the configuration's. Who has the
 * caller's user ids can be stopped by the caller, and we wait: only those for files change. */
static int try_as(const struct peer *peer, const char *path)
{
    int pidfd = -EBADF;
    pid_t pid = process_clone(0, -EBADF, &pidfd);
    if (pid == 0) {
        errno = EPERM;
        if (syscall(SYS_setgroups, peer->n_groups, peer->groups) < 0)
            _exit(errno & 255);
        (void)setfsgid(peer->gid);
        (void)setfsuid(peer->uid); /* takes capabilities away */
        if ((gid_t)setfsgid((gid_t)-1) != peer->gid ||
            (uid_t)setfsuid((uid_t)-1) != peer->uid ||
            faccessat(AT_FDCWD, path, R_OK | W_OK, AT_EACCESS) < 0)
            _exit(errno & 255);
        _exit(0);
    }
    fd_close(pidfd);
    return pid < 0 ? pid : status_of(pid);
}

static bool is_device(const char *path, dev_t number)
{
    struct stat st;
    return stat(path, &st) == 0 && S_ISCHR(st.st_mode) && st.st_rdev == number;
}

static int allow_member(const struct policy_rights *rights, const struct peer *peer,
                        const struct run_bind *bind, dev_t number, struct error *err)
{
    char what[256];
    const char *word = bind->source;
    for (size_t i = 0; i < rights->n_items[POLICY_DEVICES]; i++) {
        const struct policy_item *item = &rights->items[POLICY_DEVICES][i];
        if (!is_device(item->word, number))
            continue;
        word = item->word;
        if (!item->open)
            continue;
        int r = try_as(peer, item->word);
        return r == 0 ? 0
                      : fail(err, ERROR_DENIED, r,
                             "device %.200s: you cannot open %s: ", bind->source, item->word);
    }
    (void)snprintf(what, sizeof(what), "device %.200s", bind->source);
    return policy_refuse(rights, POLICY_DEVICES, word, what, err);
}

int devices_allow(const struct policy_rights *rights, const struct peer *peer,
                  const struct run_request *request, const struct fd_list *fds,
                  struct error *err)
{
    int r = 0;
    for (uint32_t i = 0; r == 0 && i < request->n_binds; i++) {
        const struct run_bind *bind = &request->binds[i];
        dev_t number = 0;
        if (!bind->device)
            continue;
        r = check_target(bind, err);
        if (r == 0)
            r = number_of(bind, fds->fds[bind->fd], &number, err);
        if (r == 0 && peer->uid != 0)
            r = allow_member(rights, peer, bind, number, err);
    }
    return r;
}

struct node {
    dev_t number;
    uint32_t uid;
    uint32_t gid;
};

/* In a mount namespace of its own: only what is attached can be copied (before Linux 6.15). */
static int make_node(const struct node *node)
{
    const char *const options[] = {"source", "isolate-device", "mode", "0755", "size", "4k",
                                   NULL};
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    _cleanup_close_ int tmpfs =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC);
    if (r < 0 || tmpfs < 0)
        return r < 0 ? r : tmpfs;
    r = mount_attach_path(tmpfs, "/");
    if (r < 0)
        return r;
    if (mknodat(tmpfs, "node", S_IFCHR, node->number) < 0 ||
        fchmodat(tmpfs, "node", 0660, 0) < 0 ||
        fchownat(tmpfs, "node", node->uid, node->gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    return mount_open_tree(tmpfs, "node", false);
}

static _Noreturn void child(const struct node *node, int socket_fd)
{
    int fd = make_node(node);
    int r = fd < 0 ? fd : socket_send(socket_fd, "", 1, &fd, 1);
    _exit(r < 0 ? -r & 255 : 0);
}

int device_mount(const struct run_bind *bind, int fd, uint32_t uid, uint32_t gid,
                 struct error *err)
{
    int pair[2];
    char byte = 0;
    struct node node = {.uid = uid, .gid = gid};
    _cleanup_fd_list_ struct fd_list received = {0};
    int r = number_of(bind, fd, &node.number, err);
    if (r < 0)
        return r;
    r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "device %.200s: ", bind->source);
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    int pidfd = -EBADF;
    pid_t pid = process_clone(CLONE_NEWNS, -EBADF, &pidfd);
    if (pid == 0)
        child(&node, theirs);
    fd_close(pidfd);
    r = pid < 0 ? pid : status_of(pid);
    if (r == 0 &&
        (socket_receive(ours, &byte, 1, MSG_DONTWAIT, &received) != 1 || received.n != 1))
        r = -EPROTO;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "device %.200s: make its node: ", bind->source)
                 : TAKE_FD(received.fds[0]);
}
