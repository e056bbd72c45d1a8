/* SPDX-License-Identifier: Apache-2.0 */
/* Clones of the overlay driver: an empty upper directory each. Runs in isolated as root; what a
 * sandbox left in an upper is hostile and is only measured here. */
#include "base/text.h"
#include "storage/overlay.h"
#include "storage/store_image.h"
#include "storage/store_limit.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

int overlay_root_below(struct storage *storage, const struct store_clone *clone, int root_fd,
                       struct overlay_root *ret, struct error *err)
{
    const struct layer *top = &clone->stack.items[clone->stack.n - 1];
    char path[80];
    uint32_t stored = *top->id ? top->first_id : 0;
    (void)snprintf(path, sizeof(path), "layers/%s/tree", top->id);
    _cleanup_close_ int tree = *top->id ? dir_open_at(storage->dir_fd, path) : -EBADF;
    int r = *top->id && tree < 0 ? tree : overlay_root_read(*top->id ? tree : root_fd, ret);
    if (r == 0)
        r = overlay_root_shift(ret, stored, clone->first_id);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: the template's root: ", clone->name)
                 : 0;
}

int overlay_upper_make(int place_fd, const struct store_clone *clone,
                       const struct overlay_root *root, struct error *err)
{
    int r = mkdirat(place_fd, "upper", 0700) < 0 ? -errno : 0;
    _cleanup_close_ int upper = r < 0 ? r : dir_open_at(place_fd, "upper");
    r = upper < 0 ? upper : overlay_root_apply(root, upper);
    if (r == 0 &&
        (mkdirat(place_fd, "work", 0700) < 0 ||
         fchownat(place_fd, "work", clone->first_id, clone->first_id, AT_SYMLINK_NOFOLLOW) < 0))
        r = -errno;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: make its directories: ", clone->name)
                 : 0;
}

static int fill(struct storage *storage, int clone_fd, const struct store_clone *clone,
                int root_fd, struct error *err)
{
    _cleanup_overlay_root_ struct overlay_root root = {0};
    int r = store_project_assign(clone_fd, clone, err);
    if (r == 0)
        r = overlay_root_below(storage, clone, root_fd, &root, err);
    return r < 0 ? r : overlay_upper_make(clone_fd, clone, &root, err);
}

int overlay_clone(struct storage *storage, const struct clone_request *request,
                  struct error *err)
{
    return store_clone_make(storage, request, fill, err);
}

void overlay_clone_clear(struct overlay_clone *clone)
{
    store_clone_clear(&clone->store);
    clone->clone_fd = fd_close(clone->clone_fd);
    clone->image_fd = fd_close(clone->image_fd);
}

int overlay_clone_open(struct storage *storage, const char *name, struct overlay_clone *ret,
                       struct error *err)
{
    int r = store_clone_read(storage, name, &ret->store, err);
    if (r < 0)
        return r;
    ret->clone_fd = store_clone_open(storage, name, err);
    if (ret->clone_fd < 0)
        return ret->clone_fd;
    ret->image_fd = store_image_mount(ret->clone_fd, STORE_IMAGE, ret->store.durable, err);
    return ret->image_fd < 0 && ret->image_fd != -ENOENT
               ? error_prefix(err, ret->image_fd, "clone %s: ", name)
               : 0;
}

int overlay_clone_place(const struct overlay_clone *clone)
{
    return clone->image_fd >= 0 ? clone->image_fd : clone->clone_fd;
}

/* One that was mounted before has been emptied by the kernel, except for its mark. */
static int renew_work(const struct overlay_clone *clone)
{
    int place = overlay_clone_place(clone);
    uint32_t id = clone->store.first_id;
    int r = tree_remove(place, "work");
    if (r == 0 && clone->image_fd >= 0)
        r = store_image_spare_take(place);
    if (r == 0 && (mkdirat(place, "work", 0700) < 0 || fchownat(place, "work", id, id, 0) < 0))
        r = -errno;
    return r;
}

/* Whose ids it shows: a viewer's, or, with NULL, the sandbox's by its user namespace. */
struct audience {
    const struct storage_viewer *viewer;
    int userns_fd;
};

static int mount_clone(struct storage *storage, const struct overlay_clone *clone,
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
    _cleanup_overlay_clone_ struct overlay_clone clone = OVERLAY_CLONE_NONE;
    int r = overlay_clone_open(storage, name, &clone, err);
    if (r < 0)
        return r;
    r = file_exists_at(overlay_clone_place(&clone), "work/work");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: its work directory: ", name);
    if (r == 0) /* for the first time */
        return mount_clone(storage, &clone, audience, root_fd, ret_mount, err);
    store_project_relax(clone.clone_fd, &clone.store);
    r = renew_work(&clone);
    r = r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: renew its work directory: ", name)
              : mount_clone(storage, &clone, audience, root_fd, ret_mount, err);
    store_project_tighten(clone.clone_fd, &clone.store);
    if (clone.image_fd >= 0)
        (void)!store_image_spare_make(clone.image_fd);
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
    struct stat image;
    uint64_t entries = 0;
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    if (fstatat(fd, STORE_IMAGE, &image, AT_SYMLINK_NOFOLLOW) == 0) {
        *ret_bytes = (uint64_t)image.st_blocks * 512;
        return 0;
    }
    _cleanup_close_ int upper = dir_open_at(fd, "upper");
    *ret_bytes = 0;
    int r = upper < 0 ? upper : tree_usage(upper, ret_bytes, &entries);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: measure: ", name) : 0;
}

/* ---- limits of disk space ---- */

int overlay_image_fill(int dir_fd, const char *image, const struct store_clone *clone,
                       const struct overlay_root *root, struct error *err)
{
    _cleanup_close_ int mount = store_image_mount(dir_fd, image, clone->durable, err);
    if (mount < 0)
        return error_prefix(err, mount, "clone %s: ", clone->name);
    int r = overlay_upper_make(mount, clone, root, err);
    if (r < 0)
        return r;
    r = store_image_spare_make(mount);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: its image: ", clone->name);
    r = store_image_sync(dir_fd, mount, err);
    return r < 0 ? error_prefix(err, r, "clone %s: ", clone->name) : 0;
}

#define NEW_IMAGE "image.new"

/* It has its name when all is in it; what stands beside it then goes with the clone. */
static int limit_by_image(struct storage *storage, const char *name, uint64_t bytes,
                          struct error *err)
{
    _cleanup_overlay_root_ struct overlay_root root = {0};
    _cleanup_overlay_clone_ struct overlay_clone clone = OVERLAY_CLONE_NONE;
    int r = overlay_clone_open(storage, name, &clone, err);
    if (r < 0)
        return r;
    int dir = clone.clone_fd;
    _cleanup_close_ int upper = dir_open_at(overlay_clone_place(&clone), "upper");
    r = upper < 0 ? upper : overlay_root_read(upper, &root);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: ", name);
    r = store_image_make(dir, NEW_IMAGE, bytes, clone.store.durable, err);
    r = r < 0 ? error_prefix(err, r, "clone %s: ", name)
              : overlay_image_fill(dir, NEW_IMAGE, &clone.store, &root, err);
    if (r == 0 && renameat(dir, NEW_IMAGE, dir, STORE_IMAGE) < 0)
        r = fail(err, ERROR_SYSTEM, errno, "clone %s: its image: ", name);
    if (r < 0)
        (void)unlinkat(dir, NEW_IMAGE, 0);
    if (r == 0 && (tree_remove(dir, "upper") < 0 || tree_remove(dir, "work") < 0))
        r = fail(err, ERROR_SYSTEM, errno, "clone %s: ", name);
    return r;
}

int overlay_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err)
{
    int r = store_project_limit(storage, name, bytes, err);
    return r == -EOPNOTSUPP ? limit_by_image(storage, name, bytes, err) : r;
}
