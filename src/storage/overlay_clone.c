/* SPDX-License-Identifier: Apache-2.0 */
/* Clones of the overlay driver: an empty upper directory each. Runs in isolated as root; what a
 * sandbox left in an upper is hostile and is only measured here. */
#include "base/text.h"
#include "storage/overlay.h"
#include "storage/store_limit.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int layer_root_stat(struct storage *storage, const struct store_clone *clone,
                           int root_fd, struct stat *ret)
{
    const struct layer *top = &clone->stack.items[clone->stack.n - 1];
    char path[80];
    if (!*top->id)
        return fstat(root_fd, ret) < 0 ? -errno : 0;
    (void)snprintf(path, sizeof(path), "layers/%s/tree", top->id);
    if (fstatat(storage->dir_fd, path, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    ret->st_uid -= top->first_id;
    ret->st_gid -= top->first_id;
    return 0;
}

int overlay_upper_make(struct storage *storage, int clone_fd, const struct store_clone *clone,
                       int root_fd, struct error *err)
{
    struct stat root;
    int r = layer_root_stat(storage, clone, root_fd, &root);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: the template's root: ", clone->name);
    uid_t uid = clone->first_id + (root.st_uid & 0xFFFF);
    gid_t gid = clone->first_id + (root.st_gid & 0xFFFF);
    const struct timespec times[2] = {root.st_atim, root.st_mtim};
    if (mkdirat(clone_fd, "upper", 0700) < 0 || mkdirat(clone_fd, "work", 0700) < 0 ||
        fchownat(clone_fd, "upper", uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(clone_fd, "work", clone->first_id, clone->first_id, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(clone_fd, "upper", root.st_mode & 07777, 0) < 0 ||
        utimensat(clone_fd, "upper", times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "clone %s: make its directories: ", clone->name);
    return 0;
}

static int fill(struct storage *storage, int clone_fd, const struct store_clone *clone,
                int root_fd, struct error *err)
{
    int r = store_project_assign(clone_fd, clone, err);
    return r < 0 ? r : overlay_upper_make(storage, clone_fd, clone, root_fd, err);
}

int overlay_clone(struct storage *storage, const struct clone_request *request,
                  struct error *err)
{
    return store_clone_make(storage, request, fill, err);
}

/* One that was mounted before has been emptied by the kernel, except for its mark. */
static int renew_work(int clone_fd, const struct store_clone *clone)
{
    int r = tree_remove(clone_fd, "work");
    if (r == 0 && (mkdirat(clone_fd, "work", 0700) < 0 ||
                   fchownat(clone_fd, "work", clone->first_id, clone->first_id, 0) < 0))
        r = -errno;
    return r;
}

/* Whose ids it shows: a viewer's, or, with NULL, the sandbox's by its user namespace. */
struct audience {
    const struct storage_viewer *viewer;
    int userns_fd;
};

static int mount_clone(struct storage *storage, const struct store_clone *clone,
                       const struct audience *audience, int root_fd, int *ret_mount,
                       struct error *err)
{
    return audience->viewer
               ? overlay_mount_view(storage, clone, audience->viewer, root_fd, ret_mount, err)
               : overlay_mount_stack(storage, clone, audience->userns_fd, root_fd, ret_mount,
                                     err);
}

static int mount_named(struct storage *storage, const char *name,
                       const struct audience *audience, int root_fd, int *ret_mount,
                       struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    int r = store_clone_read(storage, name, &clone, err);
    if (r < 0)
        return r;
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    if (faccessat(fd, "work/work", F_OK, AT_SYMLINK_NOFOLLOW) < 0) /* for the first time */
        return mount_clone(storage, &clone, audience, root_fd, ret_mount, err);
    store_project_relax(fd, &clone);
    r = renew_work(fd, &clone);
    r = r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: renew its work directory: ", name)
              : mount_clone(storage, &clone, audience, root_fd, ret_mount, err);
    store_project_tighten(fd, &clone);
    return r;
}

int overlay_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                  int *ret_mount, struct error *err)
{
    const struct audience sandbox = {NULL, userns_fd};
    return mount_named(storage, name, &sandbox, root_fd, ret_mount, err);
}

int overlay_view(struct storage *storage, const char *name, const struct storage_viewer *viewer,
                 int root_fd, int *ret_mount, struct error *err)
{
    const struct audience audience = {viewer, -EBADF};
    return mount_named(storage, name, &audience, root_fd, ret_mount, err);
}

int overlay_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                  struct error *err)
{
    uint64_t entries = 0;
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    _cleanup_close_ int upper = dir_open_at(fd, "upper");
    *ret_bytes = 0;
    int r = upper < 0 ? upper : tree_usage(upper, ret_bytes, &entries);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: measure: ", name) : 0;
}
