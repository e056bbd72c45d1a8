/* SPDX-License-Identifier: Apache-2.0 */
/* A clone as a user of the host sees it, for hooks. Runs in isolated as root; content and
 * viewer are not to be trusted: the mount gives no more than that user has as root of the
 * sandbox. */
#include "storage/storage.h"
#include "sys/mount.h"
#include "sys/mount_child.h"
#include "sys/userns.h"

#define NOBODYS 4294967294U /* an id that no process has */

static size_t map_ids(uint32_t host_id, uint32_t rest_first, uint32_t stored_first_id,
                      struct id_map ret[static 3])
{
    ret[0] = (struct id_map){stored_first_id, host_id, 1};
    ret[1] = (struct id_map){stored_first_id + 1, rest_first + 1, USERNS_RANGE - 1};
    if (stored_first_id == 0)
        return 2;
    ret[2] = (struct id_map){0, NOBODYS, 1};
    return 3;
}

int storage_viewer_userns(const struct storage_viewer *viewer, uint32_t stored_first_id)
{
    struct id_map uids[3];
    struct id_map gids[3];
    bool is_root = viewer->uid == 0;
    uint32_t rest_first = is_root ? 0 : viewer->first_id;
    size_t n = map_ids(viewer->uid, rest_first, stored_first_id, uids);
    (void)map_ids(is_root ? 0 : viewer->gid, rest_first, stored_first_id, gids);
    return userns_new(uids, n, gids, n);
}

/* Links in there are the sandbox's, and would lead the viewer's own programs anywhere. */
static int refuse_links(const char *clone, int mount, struct error *err)
{
    int r = mount_set_attributes(mount, false, MOUNT_ATTR_NOSYMFOLLOW, 0, -EBADF);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: its mount for hooks: ", clone) : 0;
}

/* The viewer may be root of a user namespace with a mount namespace of its own, and attach it
 * there: the devices of the template would be the machine's. */
static int lock(const char *clone, int mount, int *ret, struct error *err)
{
    int locked = mount_locked(mount);
    if (locked < 0)
        return fail(err, ERROR_SYSTEM, locked, "clone %s: lock its mount for hooks: ", clone);
    *ret = locked;
    return 0;
}

static int view_by_mount(struct storage *storage, const char *clone,
                         const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                         struct error *err)
{
    _cleanup_close_ int userns = storage_viewer_userns(viewer, 0);
    if (userns < 0)
        return fail(err, ERROR_SYSTEM, userns, "clone %s: user namespace for hooks: ", clone);
    return storage->driver->mount(storage, clone, userns, root_fd, ret_mount, err);
}

int storage_view(struct storage *storage, const char *clone,
                 const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                 struct error *err)
{
    const struct storage_driver *driver = storage->driver;
    int r = storage_require(storage, STORAGE_VIEWS, "show a clone to hooks", err);
    _cleanup_close_ int mount = -EBADF;
    if (r == 0)
        r = (driver->view ? driver->view : view_by_mount)(storage, clone, viewer, root_fd,
                                                          &mount, err);
    if (r == 0)
        r = refuse_links(clone, mount, err);
    return r < 0 ? r : lock(clone, mount, ret_mount, err);
}
