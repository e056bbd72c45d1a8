/* SPDX-License-Identifier: Apache-2.0 */
/* Starting the nursery. Runs in isolated as root. */
#include "daemon/nursery.h"

#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

#define HARDENED (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

enum { CHILD_LINK_FD = 3, CHILD_PROGRAM_FD = 4 };

static int attach_new(const char *type, const char *place)
{
    const char *const options[] = {NULL};
    _cleanup_close_ int mount = mount_new(type, options, HARDENED);
    if (mount < 0 || mkdir(place, 0555) < 0)
        return mount < 0 ? mount : -errno;
    return mount_attach_path(mount, place);
}

/* A root with proc and sysfs, whole and unmasked: the kernel gives new ones only to who sees
 * such. */
static int enter_small_root(void)
{
    const char *const options[] = {"source", "isolate-nursery", "mode", "0555", "size", "4k",
                                   NULL};
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    _cleanup_close_ int root =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (r == 0)
        r = root < 0 ? root : mount_attach_path(root, "/");
    if (r == 0 && fchdir(root) < 0)
        r = -errno;
    if (r == 0)
        r = attach_new("proc", "proc");
    if (r == 0)
        r = attach_new("sysfs", "sys");
    if (r == 0)
        r = mount_pivot_root(".", ".");
    if (r == 0)
        r = mount_detach(".");
    return r == 0 && chdir("/") < 0 ? -errno : r;
}

static _Noreturn void child(int link_fd, int program_fd)
{
    char *const argv[] = {(char *)"isolate-nursery", NULL};
    char *const environment[] = {NULL};
    sigset_t none;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    link_fd = fcntl(link_fd, F_DUPFD, 16);
    program_fd = fcntl(program_fd, F_DUPFD, 16);
    if (enter_small_root() < 0 || dup2(link_fd, CHILD_LINK_FD) < 0 ||
        dup3(program_fd, CHILD_PROGRAM_FD, O_CLOEXEC) < 0 || close_from(5) < 0)
        _exit(1);
    (void)!exec_fd(CHILD_PROGRAM_FD, argv, environment);
    _exit(1);
}

int nursery_start(struct daemon *daemon, struct error *err)
{
    int pair[2];
    _cleanup_close_ int program = -EBADF;
    int r = daemon_load_program(daemon, "isolate-nursery", &program, err);
    if (r == 0 && (r = socket_pair(SOCK_SEQPACKET, pair)) < 0)
        r = fail(err, ERROR_SYSTEM, r, "nursery: ");
    if (r < 0)
        return r;
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    int pidfd = -EBADF;
    pid_t pid = process_clone(CLONE_NEWNS, -EBADF, &pidfd);
    if (pid == 0)
        child(theirs, program);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, pid, "nursery: ");
    fd_close(daemon->nursery_pidfd);
    fd_close(daemon->nursery_fd);
    daemon->nursery_pid = pid;
    daemon->nursery_pidfd = pidfd;
    daemon->nursery_fd = TAKE_FD(ours);
    return 0;
}
