/* SPDX-License-Identifier: Apache-2.0 */
/* The driver `zfs`: clones of snapshots. A clone is written down in the store's directory
 * before its dataset is made, which names it in a user property: only a dataset with that is
 * ever destroyed. Runs in isolated as root. */
#include "storage/zfs_core.h"
#include "storage/zfs_import.h"

#include "base/log.h"
#include "base/text.h"
#include "storage/drivers.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

#define ZFS_MAGIC 0x2fc12fc1

static const struct store_ops zfs_store = {
    .remove = tree_remove_until,
    .resolve = zfs_resolve,
};

static bool zfs_suits(int dir_fd)
{
    struct statfs fs;
    return fstatfs(dir_fd, &fs) == 0 && (uint32_t)fs.f_type == ZFS_MAGIC;
}

static int zfs_open(struct storage *storage, struct error *err)
{
    static const char *const directories[] = {"templates", "clones", "trash", "imports"};
    int r = dirs_make_at(storage->dir_fd, directories, ELEMENTS(directories), 0700);
    return r < 0
               ? fail(err, ERROR_SYSTEM, r, "storage %s: make its directories: ", storage->name)
               : 0;
}

static int zfs_check(struct storage *storage, struct error *err)
{
    return zfs_close_parent(storage, NULL, err);
}

/* *ret: what is known of it already. */
static int make_dataset(const struct storage *storage, const struct store_clone *clone,
                        const char *from, struct zfs_dataset *ret, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char property[128];
    _cleanup_buffer_ struct buffer text = {0};
    zfs_name(storage, dataset, "%s", clone->name);
    int r = zfs_core_clone(from, dataset, clone->name, &text, err);
    if (r > 0 && text.data)
        zfs_take(text.data, ret);
    if (r > 0)
        return 0;
    (void)snprintf(property, sizeof(property), "io.isolate:clone=%s", clone->name);
    if (r == 0)
        r = ZFS(err, "clone", "-o", "canmount=noauto", "-o", "setuid=off", "-o", "devices=off",
                "-o", property, from, dataset);
    return r < 0 ? error_prefix(err, r, "clone %s: ", clone->name) : 0;
}

/* What could not be destroyed is in the trash, by its name. */
static void remember(struct storage *storage, const char *name)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "trash/%s", name);
    if (mkdirat(storage->dir_fd, path, 0700) < 0 && errno != EEXIST)
        log_warning("clone %s: %s", name, strerror(errno));
}

static bool is_remembered(const struct storage *storage, const char *name)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "trash/%s", name);
    if (faccessat(storage->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0)
        return true;
    (void)snprintf(path, sizeof(path), "clones/%s", name);
    return faccessat(storage->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) == 0;
}

static int fill(struct storage *storage, int clone_fd, const struct store_clone *clone,
                int root_fd, struct error *err)
{
    char from[ZFS_NAME_SIZE + 16];
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of = {0};
    int r = 0;
    if (clone->is_shifted) {
        r = zfs_shift_ensure(storage, clone->template_name, clone->generation, clone->first_id,
                             dataset, err);
        (void)snprintf(from, sizeof(from), "%s@shifted", dataset);
    } else {
        zfs_name(storage, from, "%s@%s", clone->template_name, clone->generation);
    }
    if (r == 0)
        r = make_dataset(storage, clone, from, &of, err);
    if (r < 0 && zfs_check_pool(from, NULL) < 0) /* it may still be made, later */
        remember(storage, clone->name);
    if (r < 0)
        return r;
    zfs_name(storage, dataset, "%s", clone->name);
    if (!*of.type || of.locked)
        r = zfs_get_filesystem(dataset, &of, err);
    if (r == 0)
        r = zfs_mount_visibly(dataset, &of, clone->is_shifted ? 0 : clone->first_id, err);
    if (r < 0 && zfs_destroy(dataset, NULL) < 0)
        remember(storage, clone->name);
    return r;
}

static int zfs_clone(struct storage *storage, const struct clone_request *request,
                     struct error *err)
{
    if (!request->template_name)
        return storage_require(storage, STORAGE_ROOTS, "run on a directory", err);
    int r = zfs_check_pool(zfs_parent(storage), err);
    return r < 0 ? r : store_clone_make(storage, request, fill, err);
}

static int zfs_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                     int *ret_mount, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_close_ int mount = -EBADF;
    int r = store_clone_read(storage, name, &clone, err);
    zfs_name(storage, dataset, "%s", name);
    if (r == 0)
        r = zfs_get_filesystem(dataset, &of, err);
    if (r == 0)
        r = zfs_mount_detached(dataset, &of, false, &mount, err);
    if (r < 0)
        return r;
    if (!clone.is_shifted) {
        r = mount_set_attributes(mount, false, 0, 0, userns_fd);
        if (r < 0)
            return fail(err, ERROR_UNSUPPORTED, r, "clone %s: id-map its dataset: ", name);
    }
    *ret_mount = TAKE_FD(mount);
    return 0;
}

static int zfs_view(struct storage *storage, const char *name,
                    const struct storage_viewer *viewer, int root_fd, int *ret_mount,
                    struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    int r = store_clone_read(storage, name, &clone, err);
    if (r < 0)
        return r;
    if (clone.is_shifted)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "clone %s: storage %s cannot be id-mapped here, so it cannot be shown to "
                    "hooks",
                    name, storage->name);
    _cleanup_close_ int userns = storage_viewer_userns(viewer, 0);
    if (userns < 0)
        return fail(err, ERROR_SYSTEM, userns, "clone %s: user namespace for hooks: ", name);
    return zfs_mount(storage, name, userns, root_fd, ret_mount, err);
}

/* Who still has an fd of it changes only what its owner runs. */
static int zfs_settle(struct storage *storage, int mount_fd)
{
    return 0;
}

static void doom(const struct storage *storage, const char *name, struct zfs_doomed *ret)
{
    *ret = (struct zfs_doomed){0};
    zfs_name(storage, ret->dataset, "%s", name);
    (void)snprintf(ret->mark, sizeof(ret->mark), "%s", name);
    (void)zfs_mounted_at(ret->dataset, ret->mountpoint);
}

static int destroy_dataset(struct storage *storage, const char *name, struct error *err)
{
    struct zfs_dataset of;
    struct zfs_doomed doomed;
    /* a pool that does not answer is not asked for what was never begun there */
    if (!is_remembered(storage, name) && zfs_check_pool(zfs_parent(storage), NULL) < 0)
        return 0;
    doom(storage, name, &doomed);
    int r = zfs_core_destroy(&doomed, 1, err);
    if (r < 0 || doomed.gone)
        return r < 0 ? r : 0;
    r = zfs_get(doomed.dataset, &of, err);
    if (r < 0 || !*of.type)
        return r;
    if (!streq(of.clone, name)) {
        log_warning("dataset %s is not what isolate has made: left alone", doomed.dataset);
        return 0;
    }
    r = zfs_destroy(doomed.dataset, err); /* waits where it is busy, and says why */
    if (r == 0 && *of.mountpoint)
        (void)rmdir(of.mountpoint);
    return r;
}

/* In one transaction; the rest finds them gone. What is busy is for the rest. */
static void zfs_destroy_ahead(struct storage *storage, const struct clone_list *clones)
{
    struct zfs_doomed *doomed = calloc(clones->n, sizeof(*doomed));
    for (size_t i = 0; doomed && i < clones->n; i++)
        doom(storage, clones->items[i].name, &doomed[i]);
    if (doomed)
        (void)!zfs_core_destroy(doomed, clones->n, NULL);
    free(doomed);
}

static int zfs_clone_destroy(struct storage *storage, const char *name, struct error *err)
{
    int r = destroy_dataset(storage, name, err);
    return r < 0 ? error_prefix(err, r, "clone %s: destroy: ", name)
                 : store_clone_destroy(storage, name, err);
}

/* Those of which only the dataset is left. */
static int add_clone(void *data, const char *name, const char *value)
{
    struct clone_list *list = data;
    if (!streq(name, value) || !name_is_clone(name))
        return 0;
    for (size_t i = 0; i < list->n; i++)
        if (streq(list->items[i].name, name))
            return 0;
    void *items = reallocarray(list->items, list->n + 1, sizeof(*list->items));
    if (!items)
        return -ENOMEM;
    list->items = items;
    list->items[list->n] = (struct clone_info){0};
    (void)snprintf(list->items[list->n++].name, CLONE_NAME_SIZE, "%s", name);
    return 0;
}

static int zfs_clones(struct storage *storage, struct clone_list *ret, struct error *err)
{
    _cleanup_clones_ struct clone_list list = {0};
    int r = store_clones(storage, &list, err);
    if (r == 0)
        r = zfs_for_each_child(storage, "io.isolate:clone", add_clone, &list, err);
    if (r < 0)
        return r;
    *ret = TAKE_STRUCT(list);
    return 0;
}

static int zfs_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                     struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    zfs_name(storage, dataset, "%s", name);
    int r = zfs_get_filesystem(dataset, &of, err);
    *ret_bytes = r < 0 ? 0 : strtoull(of.used, NULL, 10);
    return r;
}

const struct storage_driver storage_zfs = {
    .name = "zfs",
    .capabilities = STORAGE_TEMPLATES | STORAGE_DISPOSABLE | STORAGE_DIFF | STORAGE_DATASETS |
                    STORAGE_LIMIT | STORAGE_VIEWS | STORAGE_ARRIVALS,
    .store = &zfs_store,
    .suits = zfs_suits,
    .open = zfs_open,
    .check = zfs_check,
    .place = zfs_place,
    .templates = zfs_templates,
    .find = zfs_find,
    .defaults = store_defaults,
    .import = zfs_import,
    .publish = zfs_publish,
    .abort = zfs_abort,
    .generations = zfs_generations,
    .snapshot = zfs_snapshot,
    .rollback = zfs_rollback,
    .remove_generation = zfs_remove_generation,
    .remove_template = zfs_remove_template,
    .collect = zfs_collect,
    .mount_generation = zfs_mount_generation,
    .arrivals = &zfs_arrivals,
    .adopt = zfs_register,
    .range = zfs_range,
    .range_make = zfs_range_make,
    .ranges = zfs_ranges,
    .clone = zfs_clone,
    .mount = zfs_mount,
    .view = zfs_view,
    .settle = zfs_settle,
    .destroy_ahead = zfs_destroy_ahead,
    .destroy = zfs_clone_destroy,
    .clones = zfs_clones,
    .trash = store_trash,
    .usage = zfs_usage,
    .limit = zfs_limit,
    .diff = zfs_diff,
    .commit = zfs_commit,
};
