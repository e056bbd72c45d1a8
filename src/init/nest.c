/* SPDX-License-Identifier: Apache-2.0 */
/* What a sandbox in which others may be made (--seccomp nested) has more: a proc that is not
 * masked and that nobody reaches. The kernel gives a new proc only to who has such a one among
 * its mounts, wherever it is. It lies below a tmpfs that another one covers, and who makes a
 * mount namespace in a user namespace of its own has all of these mounts locked. Runs as root
 * of the sandbox's user namespace, before the command. */
#include "init/init.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/own_mounts.h"

#include <fcntl.h>
#include <sys/stat.h>

#define PLACE "/dev/.nested"
#define BELOW PLACE "/proc"

static int attach(int take_mount, const char *path)
{
    _cleanup_close_ int mount = take_mount;
    _cleanup_close_ int place =
        mount < 0 ? mount : open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return mount < 0 ? mount : place < 0 ? -errno : mount_attach(mount, place);
}

int init_pin_proc(struct error *err)
{
    static const char *const empty[] = {"source", "tmpfs", "mode", "0555", NULL};
    int r = mkdir(PLACE, 0) < 0 ? -errno : 0;
    if (r == 0)
        r = attach(mount_new("tmpfs", empty, OWN_MOUNT_HARDENED), PLACE);
    if (r == 0 && mkdir(BELOW, 0) < 0)
        r = -errno;
    if (r == 0)
        r = attach(own_mount_new(OWN_PROC), BELOW);
    if (r == 0)
        r = attach(mount_new("tmpfs", empty, OWN_MOUNT_HARDENED | MOUNT_ATTR_RDONLY), PLACE);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "proc for nested sandboxes: ") : 0;
}
