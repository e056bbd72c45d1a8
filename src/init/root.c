/* SPDX-License-Identifier: Apache-2.0 */
/* See root.h. Runs in init as it builds its sandbox and, where an engine was executed before
 * there was a root, in the inner init. */
#include "init/root.h"

#include "sys/mount.h"

#include <fcntl.h>
#include <stdio.h>
#include <unistd.h>

int root_attach(int root_fd, struct error *err)
{
    int r = mount_attach_path(root_fd, "/");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "attach the root: ");
    return fchdir(root_fd) < 0 ? fail(err, ERROR_SYSTEM, errno, "enter the root: ") : 0;
}

int root_move(const char *name, int at_fd, struct error *err)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "/%s", name);
    _cleanup_close_ int mount = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    int r = mount < 0 ? -errno : mount_attach(mount, at_fd);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "move /%s to the root: ", name) : 0;
}

int root_enter(struct error *err)
{
    int r = mount_pivot_root(".", ".");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "pivot_root: ");
    r = mount_detach(".");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "detach the root before: ");
    return chdir("/") < 0 ? fail(err, ERROR_SYSTEM, errno, "enter the root: ") : 0;
}
