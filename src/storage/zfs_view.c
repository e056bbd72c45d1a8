/* SPDX-License-Identifier: Apache-2.0 */
/* Generations as trees to look at, and how a template's dataset is changed: it is brought from
 * the state of its current generation to another one change by change, and then snapshotted.
 * While that goes on, templates/NAME/becoming names the generation to go back to after a crash.
 * Runs in isolated as root; what sandboxes left is hostile. */
#include "storage/zfs_view.h"
#include "base/log.h"
#include "base/text.h"
#include "storage/apply.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

int zfs_mount_dataset(const char *dataset, bool read_only, int *ret_mount, struct error *err)
{
    struct zfs_dataset of;
    int r = zfs_get_filesystem(dataset, &of, err);
    return r < 0 ? r : zfs_mount_detached(dataset, &of, read_only, ret_mount, err);
}

int zfs_mount_view(struct storage *storage, const char *name, const char *generation,
                   int *ret_mount, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    const struct zfs_dataset none = {0};
    if (zfs_is_kernel()) {
        zfs_name(storage, dataset, "%s@%s", name, generation);
        return zfs_mount_detached(dataset, &none, true, ret_mount, err);
    }
    int r = zfs_shift_ensure(storage, name, generation, 0, dataset, err);
    return r < 0 ? r : zfs_mount_dataset(dataset, true, ret_mount, err);
}

int zfs_mount_generation(struct storage *storage, const char *name, const char *generation,
                         int *ret_mount, struct error *err)
{
    struct store_generation found;
    _cleanup_close_ int lock = store_lock(storage, false, err);
    int r = lock < 0 ? lock : zfs_resolve(storage, name, generation, &found, err);
    fd_closep(&lock); /* an intermediate may be made, which has a lock before this one */
    return r < 0 ? r : zfs_mount_view(storage, name, found.generation.id, ret_mount, err);
}

/* ---- changing a template's dataset ---- */

static void becoming_path(const char *name, char ret[static 128])
{
    (void)snprintf(ret, 128, "templates/%s/becoming", name);
}

/* The dataset must be what its current generation says: an administrator's own changes in it
 * would be lost, or committed unseen. */
static int check_unchanged(struct storage *storage, const char *name, int live,
                           const char *generation, struct error *err)
{
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, false, false};
    int r = zfs_mount_view(storage, name, generation, &trees.was, err);
    if (r < 0)
        return r;
    trees.now = fcntl(live, F_DUPFD_CLOEXEC, 3);
    r = diff_is_any(&trees, NULL, err);
    return r <= 0 ? r
                  : fail(err, ERROR_BUSY, EBUSY,
                         "template \"%s\": the dataset %s/%s has changes that no snapshot has; "
                         "make one first: isolate template snapshot %s",
                         name, zfs_parent(storage), name, name);
}

/* Makes the dataset exactly what the tree is. */
static int change_to(int live, int tree, struct error *err)
{
    _cleanup_changes_ struct change_list changes = {0};
    const struct diff_trees trees = {.now = tree, .was = live, .is_exact = true};
    int r = diff_trees(&trees, NULL, change_list_add, &changes, err);
    _cleanup_close_ int from = dir_open_at(tree, ".");
    if (r == 0 && from < 0)
        r = fail(err, ERROR_SYSTEM, from, "change a dataset: ");
    return r < 0 ? r : changes_apply(&changes, from, live, 0, err);
}

/* To what a generation says; snapshots of others, newer ones too, do not matter. */
static int go_back(struct storage *storage, const char *name, const char *generation,
                   struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    _cleanup_close_ int live = -EBADF;
    _cleanup_close_ int view = -EBADF;
    zfs_name(storage, dataset, "%s", name);
    int r = zfs_mount_dataset(dataset, false, &live, err);
    if (r == 0)
        r = zfs_mount_view(storage, name, generation, &view, err);
    return r < 0 ? r : change_to(live, view, err);
}

int zfs_become_begin(struct storage *storage, const char *name, struct zfs_become *ret,
                     struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct store_generation current = {0};
    int r = zfs_template_settle(storage, name, err);
    if (r == 0)
        r = zfs_resolve(storage, name, NULL, &current, err);
    zfs_name(storage, dataset, "%s", name);
    if (r == 0)
        r = zfs_mount_dataset(dataset, false, &ret->live, err);
    if (r == 0)
        r = check_unchanged(storage, name, ret->live, current.generation.id, err);
    if (r < 0)
        return r;
    (void)snprintf(ret->before, sizeof(ret->before), "%s", current.generation.id);
    return zfs_note(storage, name, "becoming", ret->before, err);
}

int zfs_become_end(struct storage *storage, const char *name, struct zfs_become *become,
                   int result, struct error *err)
{
    char path[128];
    becoming_path(name, path);
    become->live = fd_close(become->live);
    if (!*become->before) /* not begun */
        return result;
    if (result < 0 && go_back(storage, name, become->before, NULL) < 0)
        return error_prefix(err, result,
                            "half changed, to be taken back later (by `isolate prune`): ");
    if (unlinkat(storage->dir_fd, path, 0) < 0 && errno != ENOENT && result == 0)
        return fail(err, ERROR_SYSTEM, errno, "template \"%s\": ", name);
    return result;
}

int zfs_template_become(struct storage *storage, const char *name, int tree_fd,
                        int (*finish)(void *data, struct error *err), void *data,
                        struct error *err)
{
    struct zfs_become become = {.live = -EBADF};
    int r = zfs_become_begin(storage, name, &become, err);
    if (r == 0)
        r = change_to(become.live, tree_fd, err);
    if (r == 0)
        r = finish(data, err);
    return zfs_become_end(storage, name, &become, r, err);
}

/* What cannot be taken back now is tried again with the next collection. */
static int recover_one(struct storage *storage, const char *name, void *data)
{
    char path[128];
    struct error err = {0};
    struct store_generation current = {0};
    _cleanup_buffer_ struct buffer before = {0};
    if (name_check_template(name, NULL) < 0)
        return 0;
    becoming_path(name, path);
    if (file_read_at(storage->dir_fd, path, 64, &before) < 0 || !before.data)
        return 0;
    int r = zfs_resolve(storage, name, NULL, &current, &err);
    /* where another generation is the current one by now, it was complete */
    if (r == 0 && streq(current.generation.id, before.data))
        r = go_back(storage, name, before.data, &err);
    if (r < 0)
        log_warning("template \"%s\": half changed: %s", name, err.text);
    else
        (void)unlinkat(storage->dir_fd, path, 0);
    return 0;
}

int zfs_template_settle(struct storage *storage, const char *name, struct error *err)
{
    char path[128];
    (void)recover_one(storage, name, NULL);
    becoming_path(name, path);
    if (faccessat(storage->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    return fail(err, ERROR_BUSY, EBUSY,
                "template \"%s\": a change of the dataset %s/%s was interrupted and cannot be "
                "taken back now; see the log for why, then run `isolate prune`",
                name, zfs_parent(storage), name);
}

int zfs_commit_recover(struct storage *storage, struct error *err)
{
    return store_for_each(storage, "templates", recover_one, err);
}
