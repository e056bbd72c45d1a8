/* SPDX-License-Identifier: Apache-2.0 */
/* The file systems and mount calls that a sandbox is made of, each tried in a child's own user
 * and mount namespace. Runs in isolate-ctl as the caller; takes no outside input. */
#include "client/doctor.h"

#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

/* A tmpfs over the child's root; the fd is its top. */
static int make_scratch(struct error *err)
{
    _cleanup_close_ int fd = mount_new("tmpfs", NULL, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "tmpfs: ");
    int r = mount_attach_path(fd, "/");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "tmpfs: move_mount: ");
    return TAKE_FD(fd);
}

static int make_file(int dir_fd, const char *name)
{
    _cleanup_close_ int fd =
        openat(dir_fd, name, O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    return fd < 0 ? -errno : fd_write_all(fd, "isolate", 7);
}

/* ---- proc ---- */

static int child_proc(const void *argument, struct error *err)
{
    _cleanup_close_ int fd = mount_new("proc", NULL, 0);
    int r = fd < 0 ? fd : mount_attach_path(fd, "/proc");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "proc in a new pid namespace: ") : 0;
}

void doctor_check_proc(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    uint64_t flags = CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWPID;
    int r = doctor_child(doctor, flags, child_proc, NULL, &err);
    if (r == 0) {
        doctor_ok(check, "mounted");
        return;
    }
    if (r == -EPERM)
        doctor_bad(check, "%.180s: parts of /proc are covered here", err.text);
    else
        doctor_bad(check, "%.250s", err.text);
    /* mount_too_revealing() of the kernel: no fresh proc where the only one in sight is masked
     */
    doctor_remedy(check, "in a unit, drop ProtectKernelTunables=, ProtectKernelLogs= and "
                         "ProcSubset=; in a container, use docker run --security-opt "
                         "systempaths=unconfined or podman run --security-opt unmask=ALL");
}

/* ---- open_tree, move_mount, mount_setattr ---- */

static int child_mount_api(const void *argument, struct error *err)
{
    _cleanup_close_ int scratch = make_scratch(err);
    if (scratch < 0)
        return scratch;
    _cleanup_close_ int at = dir_make_at(scratch, "at", 0755);
    if (at < 0)
        return fail(err, ERROR_SYSTEM, at, "mkdir on a tmpfs: ");
    _cleanup_close_ int copy = mount_open_tree(scratch, "", false);
    if (copy < 0)
        return fail(err, ERROR_SYSTEM, copy, "open_tree: ");
    int r = mount_set_attributes(copy, false, MOUNT_ATTR_RDONLY, 0, -EBADF);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "mount_setattr: ");
    r = mount_attach(copy, at);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "move_mount: ");
    r = make_file(copy, "file");
    if (r != -EROFS)
        return fail(err, ERROR_UNSUPPORTED, EINVAL, "mount_setattr made nothing read-only");
    return 0;
}

static void answer(struct doctor_check *check, int r, const struct error *err)
{
    if (r == 0)
        doctor_ok(check, "works");
    else
        doctor_bad(check, "%.250s", err->text);
}

void doctor_check_mount_api(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    answer(check,
           doctor_child(doctor, CLONE_NEWUSER | CLONE_NEWNS, child_mount_api, NULL, &err),
           &err);
    if (check->result != DOCTOR_OK)
        doctor_remedy(check, "boot Linux 5.12 or later; in a container, allow open_tree, "
                             "move_mount, fsopen, fsmount and mount_setattr in its system "
                             "call filter");
}

/* ---- tmpfs ---- */

static int child_tmpfs(const void *argument, struct error *err)
{
    static const char *const options[] = {"mode", "0755", "size", "1m", NULL};
    _cleanup_close_ int fd = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    int r = fd < 0 ? fd : make_file(fd, "file");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "tmpfs: ") : 0;
}

void doctor_check_tmpfs(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    answer(check, doctor_child(doctor, CLONE_NEWUSER | CLONE_NEWNS, child_tmpfs, NULL, &err),
           &err);
    if (check->result != DOCTOR_OK)
        doctor_remedy(check, "boot a kernel with CONFIG_TMPFS=y; in a container, allow fsopen, "
                             "fsconfig and fsmount in its system call filter");
}

/* ---- devpts ---- */

static int child_devpts(const void *argument, struct error *err)
{
    /* newinstance has been the only behaviour since 4.7 and is accepted as a flag */
    static const char *const options[] = {"newinstance", NULL, "ptmxmode", "0666"};
    _cleanup_close_ int context = mount_context("devpts");
    int r = context;
    for (size_t i = 0; i < ELEMENTS(options) && r >= 0; i += 2)
        r = mount_context_set(context, options[i], options[i + 1]);
    _cleanup_close_ int fd = r < 0 ? r : mount_context_create(context, MOUNT_ATTR_NOSUID);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "devpts: ");
    _cleanup_close_ int ptmx = openat(fd, "ptmx", O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (ptmx < 0)
        return fail(err, ERROR_SYSTEM, errno, "devpts: open ptmx: ");
    unsigned number = 0;
    if (ioctl(ptmx, TIOCGPTN, &number) < 0)
        return fail(err, ERROR_SYSTEM, errno, "devpts: TIOCGPTN: ");
    if (number != 0)
        return fail(err, ERROR_UNSUPPORTED, EINVAL, "devpts: the new instance is shared");
    return 0;
}

void doctor_check_devpts(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    answer(check, doctor_child(doctor, CLONE_NEWUSER | CLONE_NEWNS, child_devpts, NULL, &err),
           &err);
    if (check->result != DOCTOR_OK)
        doctor_remedy(check, "boot a kernel with CONFIG_UNIX98_PTYS=y and room below sysctl "
                             "kernel.pty.max");
}

/* ---- overlay ---- */

static int overlay_on_scratch(struct error *err)
{
    static const char *const options[] = {
        "lowerdir", "lower", "upperdir", "upper", "workdir", "work",
        "index",    "off",   "metacopy", "off",   NULL,
    };
    _cleanup_close_ int overlay = mount_new("overlay", options, 0);
    if (overlay < 0)
        return fail(err, ERROR_SYSTEM, overlay, "overlay: ");
    int r = make_file(overlay, "new");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "overlay: creating a file: ") : 0;
}

static int child_overlay(const void *argument, struct error *err)
{
    _cleanup_close_ int scratch = make_scratch(err);
    if (scratch < 0)
        return scratch;
    if (mkdirat(scratch, "lower", 0755) < 0 || mkdirat(scratch, "upper", 0755) < 0 ||
        mkdirat(scratch, "work", 0755) < 0 || fchdir(scratch) < 0)
        return fail(err, ERROR_SYSTEM, errno, "mkdir on a tmpfs: ");
    return overlay_on_scratch(err);
}

void doctor_check_overlay(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    /* as isolated does it: root mounts overlays in the host's user namespace */
    int r = doctor_child(doctor, CLONE_NEWNS, child_overlay, NULL, &err);
    answer(check, r, &err);
    if (r == -ENODEV)
        doctor_remedy(check,
                      "modprobe overlay, or boot a kernel with CONFIG_OVERLAY_FS; else make "
                      "templates with --storage=zfs, btrfs or reflink");
    else if (r < 0)
        doctor_remedy(check, "dmesg says what overlayfs refused; else make templates with "
                             "--storage=zfs, btrfs or reflink");
}
