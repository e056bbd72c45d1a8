/* SPDX-License-Identifier: Apache-2.0 */
/* What methods have in common by which templates come in. Runs in isolated as root. */
#include "daemon/templates.h"
#include "storage/location.h"
#include "sys/fd.h"
#include "sys/mount.h"

int template_storage_choose(struct daemon *daemon, const char *wanted, struct storage *ret,
                            struct error *err)
{
    char name[STORAGE_NAME_SIZE] = "";
    if (!wanted && *daemon->config.storage)
        wanted = daemon->config.storage;
    int r = storage_choose(wanted, daemon->state_fd, daemon->config.state_directory, name, err);
    if (r == 0)
        r = storage_is_known(daemon->state_fd, name, err);
    if (r >= 0)
        r = storage_open(name, daemon->state_fd, ret, err);
    if (r == 0)
        r = storage_require(ret, STORAGE_TEMPLATES, "keep named templates", err);
    if (r == 0 && ret->driver->check)
        r = ret->driver->check(ret, err);
    if (r == 0)
        r = storage_register(daemon->state_fd, name, err);
    if (r < 0 && storage_is_known(daemon->state_fd, name, NULL) == 0)
        storage_discard(ret, daemon->state_fd);
    if (r < 0)
        location_unmake(name);
    return r;
}

int template_tree_view(int tree_fd, struct error *err)
{
    _cleanup_close_ int mount = mount_open_tree(tree_fd, "", false);
    int r = mount < 0
                ? mount
                : mount_set_attributes(mount, false,
                                       MOUNT_ATTR_NODEV | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NOEXEC,
                                       0, -EBADF);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "mount of the new tree: ") : TAKE_FD(mount);
}
