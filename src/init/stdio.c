/* SPDX-License-Identifier: Apache-2.0 */
/* The command's stdin, stdout and stderr: the caller's own fds, or a pty. Runs as root of the
 * sandbox's user namespace; the fds are the caller's and may be anything. */
#include "sys/stdio.h"
#include "init/init.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <poll.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define TTY_GID 5

static const char *const stdio_names[3] = {"stdin", "stdout", "stderr"};

int init_receive_stdio(int control_fd, int ret[static 3], struct error *err)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    /* queued by the client before its other end travelled: it is there, or it never comes */
    int r = message_receive(control_fd, &message, MSG_DONTWAIT, &fds);
    if (r != 1 || message.type != MESSAGE_STDIO || fds.n != 3)
        return fail(err, ERROR_PROTOCOL, EPROTO, "control socket: no stdio in it");
    for (int i = 0; i < 3; i++) {
        r = stdio_check(fds.fds[i], stdio_names[i], err);
        if (r < 0)
            return r;
    }
    for (int i = 0; i < 3; i++)
        ret[i] = TAKE_FD(fds.fds[i]);
    return 0;
}

/* /dev/console is the same terminal, for programs that insist on one. */
static int make_console(int master)
{
    char path[32];
    unsigned number = 0;
    if (ioctl(master, TIOCGPTN, &number) < 0)
        return -errno;
    (void)snprintf(path, sizeof(path), "/dev/pts/%u", number);
    _cleanup_close_ int place =
        open("/dev/console", O_CREAT | O_EXCL | O_RDONLY | O_NOFOLLOW | O_CLOEXEC, 0600);
    _cleanup_close_ int mount = mount_open_tree(AT_FDCWD, path, false);
    if (place < 0)
        return -errno;
    return mount < 0 ? mount : mount_attach(mount, place);
}

int init_make_pty(int *ret_master, uint32_t uid, int ret[static 3], struct error *err)
{
    _cleanup_close_ int master = open("/dev/pts/ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    int unlocked = 0;
    if (master < 0 || ioctl(master, TIOCSPTLCK, &unlocked) < 0)
        return fail(err, ERROR_SYSTEM, errno, "pty: ");
    _cleanup_close_ int slave = ioctl(master, TIOCGPTPEER, O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (slave < 0 || fchown(slave, uid, TTY_GID) < 0)
        return fail(err, ERROR_SYSTEM, errno, "pty: ");
    int console = make_console(master);
    if (console < 0 && console != -EEXIST) /* of an earlier command */
        return fail(err, ERROR_SYSTEM, console, "/dev/console: ");
    for (int i = 0; i < 3; i++) {
        ret[i] = fcntl(slave, F_DUPFD_CLOEXEC, 3);
        if (ret[i] < 0)
            return fail(err, ERROR_SYSTEM, errno, "pty: ");
    }
    *ret_master = TAKE_FD(master);
    return 0;
}

int init_give_pty(int control_fd, uint32_t uid, int ret[static 3], struct error *err)
{
    _cleanup_close_ int master = -EBADF;
    const struct message message = {.type = MESSAGE_PTY};
    for (int i = 0; i < 3; i++)
        ret[i] = fd_close(ret[i]);
    int r = init_make_pty(&master, uid, ret, err);
    if (r < 0)
        return r;
    r = message_send(control_fd, &message, &master, 1);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "pty: send to the client: ") : 0;
}
