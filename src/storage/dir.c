/* SPDX-License-Identifier: Apache-2.0 */
/* The driver `dir`: a sandbox runs on the directory itself, and its changes persist. A "clone"
 * is only a record, clones/CLONE/clone.json in the overlay driver's form, that names the
 * directory; ids are mapped, so that the files it makes belong to the ids that they have
 * inside. Runs in isolated as root. The path comes from a caller who was checked before; the
 * content of the directory is never looked at here. */
#include "storage/drivers.h"
#include "storage/store.h"
#include "storage/store_root.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/tree.h"

#include <string.h>
#include <sys/stat.h>

static const struct store_ops dir_store = {.remove = tree_remove_until};

static int dir_open(struct storage *storage, struct error *err)
{
    static const char *const directories[] = {"clones", "trash"};
    int r = dirs_make_at(storage->dir_fd, directories, ELEMENTS(directories), 0700);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage dir: make its directories: ") : 0;
}

static int dir_clone(struct storage *storage, const struct clone_request *request,
                     struct error *err)
{
    if (request->template_name)
        return storage_require(storage, STORAGE_TEMPLATES, "keep templates", err);
    return store_clone_make(storage, request, NULL, err);
}

static int dir_mount_late(const char *path, int root_fd, int userns_fd, struct error *err)
{
    _cleanup_close_ int mount = mount_open_tree(root_fd, "", false);
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "template %s: copy its mount: ", path);
    int r =
        mount_set_attributes(mount, false, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV, 0, userns_fd);
    if (r == -EINVAL || r == -EPERM)
        return fail(
            err, ERROR_UNSUPPORTED, r,
            "template %s: its file system cannot be id-mapped; put it on ext4, XFS, btrfs "
            "or tmpfs, or run on a copy with --storage=overlay",
            path);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "template %s: id-map it: ", path)
                 : TAKE_FD(mount);
}

static int dir_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                     int *ret_mount, struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    int r = store_clone_read(storage, name, &clone, err);
    if (r < 0)
        return r;
    if (!clone.root_path)
        return fail(err, ERROR_SYSTEM, EINVAL, "clone %s: clone.json names no directory", name);
    _cleanup_close_ int root = store_root_open(&clone, root_fd, err);
    int mount = root < 0 ? root : dir_mount_late(clone.root_path, root, userns_fd, err);
    if (mount < 0)
        return mount;
    *ret_mount = mount;
    return 0;
}

/* The directory is its owner's, who may write to it at any time. */
static int dir_settle(struct storage *storage, int mount_fd)
{
    return 0;
}

/* What a sandbox writes counts for the directory's owner. */
static int dir_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                     struct error *err)
{
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    *ret_bytes = 0;
    return 0;
}

/* Everything below needs a capability that this driver lacks. */

static int no_templates(struct storage *storage, struct error *err)
{
    return storage_require(storage, STORAGE_TEMPLATES, "keep templates", err);
}

static int dir_templates(struct storage *storage, struct template_list *ret, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_find(struct storage *storage, const char *template_name,
                    struct template_info *ret, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                      struct error *err)
{
    return no_templates(storage, err);
}

static int dir_publish(struct storage *storage, const char *key,
                       const struct template_info *info,
                       char ret_generation[static GENERATION_SIZE], struct error *err)
{
    return no_templates(storage, err);
}

static int dir_abort(struct storage *storage, const char *key, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_generations(struct storage *storage, const char *template_name,
                           struct generation_list *ret, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_snapshot(struct storage *storage, const char *template_name,
                        char ret_generation[static GENERATION_SIZE], struct error *err)
{
    return no_templates(storage, err);
}

/* rollback and remove_generation */
static int dir_change_generation(struct storage *storage, const char *template_name,
                                 const char *generation, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_remove_template(struct storage *storage, const char *template_name,
                               struct error *err)
{
    return no_templates(storage, err);
}

static int dir_mount_generation(struct storage *storage, const char *template_name,
                                const char *generation, int *ret_mount, struct error *err)
{
    return no_templates(storage, err);
}

static int dir_diff(struct storage *storage, const char *name,
                    const struct provided_list *provided, diff_callback callback, void *data,
                    struct error *err)
{
    return storage_require(storage, STORAGE_DIFF, "tell what changed", err);
}

static int dir_commit(struct storage *storage, const char *name,
                      const struct provided_list *provided, const struct template_info *info,
                      char ret_generation[static GENERATION_SIZE], struct error *err)
{
    return storage_require(storage, STORAGE_DIFF, "commit changes", err);
}

const struct storage_driver storage_dir = {
    .name = "dir",
    .capabilities = STORAGE_ROOTS | STORAGE_LATE_ROOTS,
    .store = &dir_store,
    .open = dir_open,
    .templates = dir_templates,
    .find = dir_find,
    .import = dir_import,
    .publish = dir_publish,
    .abort = dir_abort,
    .generations = dir_generations,
    .snapshot = dir_snapshot,
    .rollback = dir_change_generation,
    .remove_generation = dir_change_generation,
    .remove_template = dir_remove_template,
    .collect = store_trash_empty,
    .mount_generation = dir_mount_generation,
    .clone = dir_clone,
    .mount = dir_mount,
    .mount_late = dir_mount_late,
    .settle = dir_settle,
    .destroy = store_clone_destroy,
    .clones = store_clones,
    .trash = store_trash,
    .usage = dir_usage,
    .diff = dir_diff,
    .commit = dir_commit,
};
