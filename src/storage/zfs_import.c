/* SPDX-License-Identifier: Apache-2.0 */
/* How templates are made of imports, and what is left is collected. An import is a dataset of
 * its own, whose root directory is locked while it is being filled. Runs in isolated as root.
 */
#include "storage/zfs_import.h"
#include "base/log.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>

/* Its root directory, opened where it is mounted. */
static int open_root(const struct storage *storage, const char *key, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    zfs_name(storage, dataset, "IMPORT-%s", key);
    int r = zfs_get_filesystem(dataset, &of, err);
    if (r < 0)
        return r;
    if (!of.mounted)
        return fail(err, ERROR_SYSTEM, ENOENT,
                    "dataset %s is not mounted; give %s a mountpoint: zfs set "
                    "mountpoint=/PATH %s",
                    dataset, zfs_parent(storage), zfs_parent(storage));
    int fd = dir_open_at(AT_FDCWD, of.mountpoint);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "dataset %s: %s: ", dataset, of.mountpoint)
                  : fd;
}

int zfs_import_begin(struct storage *storage, const char *snapshot, bool is_seen, char *ret_key,
                     size_t key_size, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char property[128];
    int r = store_import_begin(storage, ret_key, key_size, err);
    if (r < 0)
        return r;
    zfs_name(storage, dataset, "IMPORT-%s", ret_key);
    (void)snprintf(property, sizeof(property), "io.isolate:import=%s", ret_key);
    const char *argv[16] = {
        "zfs", snapshot ? "clone" : "create", "-o", "setuid=off", "-o", "devices=off",
        "-o",  "io.isolate:made=on",          "-o", property};
    size_t n = 10;
    if (!is_seen) {
        argv[n++] = "-o";
        argv[n++] = "canmount=noauto";
    }
    if (snapshot)
        argv[n++] = snapshot;
    argv[n] = dataset;
    r = zfs_run(argv, NULL, err);
    if (r < 0)
        (void)!zfs_abort(storage, ret_key, NULL);
    return r < 0 ? error_prefix(err, r, "storage %s: ", storage->name) : 0;
}

int zfs_import_make(struct storage *storage, const char *snapshot, char *ret_key,
                    size_t key_size, int *ret_tree_fd, struct error *err)
{
    int r = zfs_import_begin(storage, snapshot, true, ret_key, key_size, err);
    if (r < 0)
        return r;
    int tree = open_root(storage, ret_key, err);
    if (tree < 0) {
        (void)!zfs_abort(storage, ret_key, NULL);
        return tree;
    }
    *ret_tree_fd = tree;
    return 0;
}

int zfs_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
               struct error *err)
{
    return zfs_import_make(storage, NULL, ret_key, key_size, ret_tree_fd, err);
}

static void forget(struct storage *storage, const char *key)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "imports/%s", key);
    (void)!tree_remove(storage->dir_fd, path);
}

/* Of a publication that was interrupted behind the rename: its `zfs` may have ended later than
 * the collection that looked for such. */
static int remove_leftover(const char *dataset, struct error *err)
{
    struct zfs_dataset of;
    int r = zfs_get(dataset, &of, err);
    return r < 0 || !*of.import || !of.made ? r : zfs_destroy(dataset, err);
}

/* Until the template is written down it counts as an import. */
int zfs_import_publish(struct storage *storage, const char *key,
                       const struct template_info *info,
                       int (*finish)(void *data, struct error *err), void *data,
                       struct error *err)
{
    char from[ZFS_NAME_SIZE];
    char to[ZFS_NAME_SIZE];
    char property[128];
    zfs_name(storage, from, "IMPORT-%s", key);
    zfs_name(storage, to, "%s", info->name);
    (void)snprintf(property, sizeof(property), "io.isolate:template=%s", info->name);
    struct zfs_dataset of = {0};
    int r = zfs_get_filesystem(from, &of, err);
    if (r == 0)
        r = remove_leftover(to, err);
    if (r == 0)
        r = ZFS(err, "set", property, from);
    zfs_unmount_visibly(&of); /* whoever has filled it may still hold it open */
    if (r == 0)
        r = zfs_again(err, "rename", from, to);
    if (r < 0)
        return r;
    r = zfs_get_filesystem(to, &of, err);
    if (r == 0)
        r = zfs_mount_visibly(to, &of, 0, err);
    if (r == 0 && finish)
        r = finish(data, err);
    if (r == 0)
        r = zfs_template_write(storage, info, err);
    if (r < 0) { /* an import again, for the caller to abort */
        char path[128];
        (void)snprintf(path, sizeof(path), "templates/%s", info->name);
        (void)!tree_remove(storage->dir_fd, path);
        (void)!ZFS(NULL, "rename", to, from);
        return r;
    }
    if (ZFS(NULL, "inherit", "io.isolate:import", to) < 0)
        log_warning("dataset %s: still marked as an import", to);
    forget(storage, key);
    return 0;
}

struct publishing {
    struct storage *storage;
    const char *name;
    char *ret_generation;
};

static int snapshot_first(void *data, struct error *err)
{
    const struct publishing *publishing = data;
    generation_name(time(NULL), 0, publishing->ret_generation);
    return zfs_generation_take(publishing->storage, publishing->name,
                               publishing->ret_generation, NULL, err);
}

static int snapshot_it(void *data, struct error *err)
{
    const struct publishing *publishing = data;
    return zfs_generation_make(publishing->storage, publishing->name, false,
                               publishing->ret_generation, err);
}

int zfs_import_publish_over(struct storage *storage, const char *key, const char *name,
                            int (*finish)(void *data, struct error *err), void *data,
                            struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    _cleanup_close_ int tree = open_root(storage, key, err);
    int r = tree < 0 ? tree : zfs_template_become(storage, name, tree, finish, data, err);
    fd_closep(&tree);
    zfs_name(storage, dataset, "IMPORT-%s", key);
    if (r == 0 && zfs_destroy(dataset, NULL) < 0)
        log_warning("dataset %s: is left for the next collection", dataset);
    else if (r == 0)
        forget(storage, key);
    return r;
}

int zfs_publish(struct storage *storage, const char *key, const struct template_info *info,
                char ret_generation[static GENERATION_SIZE], struct error *err)
{
    struct template_info known;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    if (lock < 0)
        return lock;
    struct publishing publishing = {storage, info->name, ret_generation};
    int r =
        zfs_find(storage, info->name, &known, err) > 0
            ? zfs_import_publish_over(storage, key, info->name, snapshot_it, &publishing, err)
            : zfs_import_publish(storage, key, info, snapshot_first, &publishing, err);
    return r < 0 ? error_prefix(err, r, "template \"%s\": publish: ", info->name) : 0;
}

int zfs_abort(struct storage *storage, const char *key, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    zfs_name(storage, dataset, "IMPORT-%s", key);
    int r = zfs_destroy(dataset, err);
    if (r == 0)
        forget(storage, key);
    return r;
}

struct collecting {
    struct storage *storage;
    bool shifted; /* intermediates, too: nobody is making one */
};

/* An import, an intermediate, a template that was being published, or one that was removed and
 * had clones. */
static int collect_import(void *data, const char *name, const char *value)
{
    const struct collecting *collecting = data;
    struct storage *storage = collecting->storage;
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    struct template_info info;
    zfs_name(storage, dataset, "%s", name);
    if (streq(value, "-") || zfs_get(dataset, &of, NULL) < 0 || !*of.import)
        return 0;
    if (!text_after(name, "GONE-") && zfs_find(storage, name, &info, NULL) > 0)
        return ZFS(NULL, "inherit", "io.isolate:import", dataset) < 0 ? -EIO : 0;
    if (store_import_is_locked(storage, of.import) ||
        (streq(of.import, "shifted") && !collecting->shifted))
        return 0;
    if (zfs_destroy_now(dataset) == 0) /* else clones hold it still */
        forget(storage, of.import);
    return 0;
}

/* One whose dataset was never made, or is gone. */
static int collect_key(struct storage *storage, const char *name, void *data)
{
    char dataset[ZFS_NAME_SIZE];
    struct zfs_dataset of;
    zfs_name(storage, dataset, "IMPORT-%s", name);
    if (!store_import_is_locked(storage, name) && zfs_get(dataset, &of, NULL) == 0 && !*of.type)
        forget(storage, name);
    return 0;
}

/* What cannot be settled now is tried again with the next collection. */
static int settle_clone(struct storage *storage, const char *name, void *data)
{
    struct error err = {0};
    if (name_is_clone(name) && zfs_clone_settle(storage, name, &err) < 0)
        log_warning("%s", err.text);
    return 0;
}

/* Directories that clones were mounted on, which were destroyed just before a power cut: empty
 * ones, of names that no clone has. */
static int collect_mountpoints(struct storage *storage, struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    struct zfs_dataset of;
    int r = zfs_get(zfs_parent(storage), &of, err);
    if (r < 0 || !of.mounted || !*of.mountpoint)
        return r;
    int fd = dir_open_at(AT_FDCWD, of.mountpoint);
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        (void)snprintf(path, sizeof(path), "clones/%.84s", entry->d_name);
        if (name_is_clone(entry->d_name) &&
            faccessat(storage->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
            (void)unlinkat(fd, entry->d_name, AT_REMOVEDIR);
    }
    return 0;
}

/* Imports and mountpoints; a clone that is announced now has its directory made later. */
static int collect_datasets(struct storage *storage, struct error *err)
{
    _cleanup_close_ int shift = zfs_shift_lock(storage, false, NULL);
    _cleanup_close_ int lock = store_lock(storage, true, err);
    struct collecting collecting = {storage, shift >= 0};
    int r = lock < 0 ? lock : collect_mountpoints(storage, err);
    if (r == 0)
        r = zfs_for_each_child(storage, "io.isolate:import", collect_import, &collecting, err);
    return r < 0 ? r : store_for_each(storage, "imports", collect_key, NULL);
}

/* While a template is being changed, that is left for the next time: it may take long. */
int zfs_collect(struct storage *storage, struct error *err)
{
    _cleanup_close_ int change = zfs_change_lock(storage, false, err);
    if (change < 0)
        return change == -EAGAIN ? store_trash_empty(storage, err) : change;
    int r = zfs_commit_recover(storage, err);
    if (r == 0)
        r = collect_datasets(storage, err);
    if (r == 0)
        r = store_for_each(storage, "clones", settle_clone, NULL);
    return r < 0 ? r : store_trash_empty(storage, err);
}
