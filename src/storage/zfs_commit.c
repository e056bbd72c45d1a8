/* SPDX-License-Identifier: Apache-2.0 */
/* Diff and commit of clones that are datasets. Runs in isolated as root; the clone is hostile.
 */
#include "base/text.h"
#include "storage/apply.h"
#include "storage/store_commit.h"
#include "storage/zfs_import.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

/* After its template has been removed: the snapshot is still there, whatever its name is now,
 * unless the clone has been committed since it was made. */
static int open_origin(const struct store_clone *clone, const char *dataset, int *ret_mount,
                       struct error *err)
{
    char wanted[GENERATION_SIZE + 16];
    const char *at = NULL;
    struct zfs_dataset of;
    const struct zfs_dataset none = {0};
    int r = zfs_get_filesystem(dataset, &of, err);
    if (r < 0)
        return r;
    (void)snprintf(wanted, sizeof(wanted), clone->is_shifted ? ":%s@shifted" : "@%s",
                   clone->generation);
    at = strstr(of.origin, wanted);
    if (!at || at[strlen(wanted)] != '\0' || !zfs_is_kernel())
        return fail(
            err, ERROR_NOT_FOUND, ENOENT,
            "clone %s: its template \"%s\" is gone, and with it what the clone is to be "
            "compared with",
            clone->name, clone->template_name);
    return zfs_mount_detached(of.origin, &none, true, ret_mount, err);
}

/* The clone as it was left, and as it began; with the ids that both are stored with. */
static int open_both(struct storage *storage, const struct store_clone *clone,
                     struct diff_trees *ret, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct template_info info;
    zfs_name(storage, dataset, "%s", clone->name);
    int r = zfs_mount_dataset(dataset, true, &ret->now, err);
    if (r < 0)
        return r;
    if (zfs_find(storage, clone->template_name, &info, NULL) <= 0)
        return open_origin(clone, dataset, &ret->was, err);
    if (!clone->is_shifted)
        return zfs_mount_view(storage, clone->template_name, clone->generation, &ret->was, err);
    r = zfs_shift_ensure(storage, clone->template_name, clone->generation, clone->first_id,
                         dataset, err);
    return r < 0 ? r : zfs_mount_dataset(dataset, true, &ret->was, err);
}

int zfs_diff(struct storage *storage, const char *name, const struct provided_list *provided,
             diff_callback callback, void *data, struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, false, false};
    int r = store_clone_read(storage, name, &clone, err);
    if (r == 0)
        r = open_both(storage, &clone, &trees, err);
    return r < 0 ? r : diff_trees(&trees, provided, callback, data, err);
}

/* What is committed: the clone's tree, and what is new in it. */
struct commit {
    struct store_clone clone;
    struct diff_trees trees;
    struct change_list changes;
    const struct provided_list *provided;
    uint32_t first_id; /* that ids are stored with */
};

static void commit_clear(struct commit *commit)
{
    store_clone_clear(&commit->clone);
    diff_trees_clear(&commit->trees);
    change_list_clear(&commit->changes);
}

static int apply_to(const struct commit *commit, int to, struct error *err)
{
    _cleanup_close_ int from = dir_open_at(commit->trees.now, ".");
    return from < 0 ? fail(err, ERROR_SYSTEM, from, "commit: ")
                    : changes_apply(&commit->changes, from, to, commit->first_id, err);
}

/* What clone.json will say stands in next.json before the generation is there. */
static int write_next(struct storage *storage, const struct commit *commit, const char *name,
                      const char *generation, struct error *err)
{
    struct store_clone next = commit->clone; /* borrows root_path, which is NULL */
    _cleanup_close_ int fd = store_clone_open(storage, next.name, err);
    if (fd < 0)
        return fd;
    (void)snprintf(next.template_name, sizeof(next.template_name), "%s", name);
    (void)snprintf(next.generation, sizeof(next.generation), "%s", generation);
    int r = store_clone_write(fd, "next.json", &next);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: write next.json: ", next.name) : 0;
}

int zfs_clone_settle(struct storage *storage, const char *name, struct error *err)
{
    struct store_generation found;
    _cleanup_store_clone_ struct store_clone next = {0};
    _cleanup_close_ int dir = store_clone_open(storage, name, err);
    if (dir < 0)
        return dir;
    if (faccessat(dir, "next.json", F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    int r = store_clone_read_file(dir, "next.json", &next);
    if (r == 0)
        r = zfs_resolve(storage, next.template_name, next.generation, &found, NULL);
    if (r == 0)
        r = renameat(dir, "next.json", dir, "clone.json") < 0 ? -errno : 0;
    else if (r == -ENOENT || r == -EINVAL) /* not written whole, so nothing came of it */
        r = unlinkat(dir, "next.json", 0) < 0 ? -errno : 0;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: settle its commit: ", name) : 0;
}

static int commit_over(struct storage *storage, const struct commit *commit, const char *name,
                       char ret_generation[static GENERATION_SIZE], struct error *err)
{
    struct zfs_become become = {.live = -EBADF};
    int r = zfs_become_begin(storage, name, &become, err);
    if (r == 0)
        r = apply_to(commit, become.live, err);
    if (r == 0)
        r = zfs_generation_name(storage, name, ret_generation, err);
    if (r == 0)
        r = write_next(storage, commit, name, ret_generation, err);
    if (r == 0)
        r = zfs_generation_take(storage, name, ret_generation, NULL, err);
    r = zfs_become_end(storage, name, &become, r, err);
    int settled = zfs_clone_settle(storage, commit->clone.name, r < 0 ? NULL : err);
    return r < 0 ? r : settled;
}

/* A copy of everything: an import that is filled here. What isolate wrote stands for nothing.
 */
static int commit_new(struct storage *storage, struct commit *commit,
                      const struct template_info *info,
                      char ret_generation[static GENERATION_SIZE], struct error *err)
{
    char key[LAYER_ID_SIZE];
    _cleanup_close_ int tree = -EBADF;
    int r = zfs_import(storage, key, sizeof(key), &tree, err);
    if (r < 0)
        return r;
    const struct diff_trees all = {.now = commit->trees.now, .was = tree};
    change_list_clear(&commit->changes);
    r = diff_trees(&all, commit->provided, change_list_add, &commit->changes, err);
    if (r == 0)
        r = change_list_add(&commit->changes, DIFF_CHANGED, "/");
    if (r == 0)
        r = apply_to(commit, tree, err);
    tree = fd_close(tree);
    if (r == 0)
        r = zfs_publish(storage, key, info, ret_generation, err);
    if (r == 0 && commit->clone.is_shifted)
        r = zfs_range_make(storage, info->name, commit->clone.first_id, err);
    if (r < 0)
        (void)!zfs_abort(storage, key, NULL);
    return r;
}

/* The clone goes on as one of the new generation. */
static int move_clone(struct storage *storage, struct commit *commit, const char *name,
                      const char *generation, struct error *err)
{
    struct store_clone *clone = &commit->clone;
    _cleanup_close_ int fd = store_clone_open(storage, clone->name, err);
    if (fd < 0)
        return fd;
    (void)snprintf(clone->template_name, sizeof(clone->template_name), "%s", name);
    (void)snprintf(clone->generation, sizeof(clone->generation), "%s", generation);
    int r = store_clone_write(fd, "clone.json", clone);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: write clone.json: ", clone->name) : 0;
}

int zfs_commit(struct storage *storage, const char *name, const struct provided_list *provided,
               const struct template_info *info, char ret_generation[static GENERATION_SIZE],
               struct error *err)
{
    _cleanup_(commit_clear) struct commit commit = {
        .trees = {-EBADF, -EBADF, false, false},
        .provided = provided,
    };
    struct template_info known;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    int r = lock < 0 ? lock : zfs_commit_recover(storage, err);
    if (r == 0)
        r = zfs_clone_settle(storage, name, err);
    if (r == 0)
        r = store_clone_read(storage, name, &commit.clone, err);
    if (r == 0)
        r = store_commit_check(storage, &commit.clone, info->name, err);
    if (r == 0)
        r = open_both(storage, &commit.clone, &commit.trees, err);
    if (r == 0)
        r = diff_trees(&commit.trees, provided, change_list_add, &commit.changes, err);
    if (r < 0)
        return r;
    commit.first_id = commit.clone.is_shifted ? commit.clone.first_id : 0;
    bool is_own = streq(info->name, commit.clone.template_name) &&
                  zfs_find(storage, info->name, &known, NULL) > 0;
    if (is_own && commit.changes.n == 0) {
        (void)snprintf(ret_generation, GENERATION_SIZE, "%s", commit.clone.generation);
        return 1;
    }
    if (is_own)
        return commit_over(storage, &commit, info->name, ret_generation, err);
    fd_closep(&lock); /* an import takes it itself */
    r = commit_new(storage, &commit, info, ret_generation, err);
    return r < 0 ? r : move_clone(storage, &commit, info->name, ret_generation, err);
}
