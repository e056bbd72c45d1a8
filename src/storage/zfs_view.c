/* SPDX-License-Identifier: Apache-2.0 */
/* Generations as trees to look at, and how a template's dataset is changed: it is brought from
 * the state of its current generation to another one change by change, and then snapshotted.
 * While that goes on, templates/NAME/becoming names the generation to go back to after a crash.
 * Runs in isolated as root; what sandboxes left is hostile. */
#include "base/log.h"
#include "base/text.h"
#include "storage/apply.h"
#include "storage/zfs.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

/* A mount of something that is there, to read or to write. */
static int mount_dataset(const char *dataset, bool read_only, int *ret_mount, struct error *err)
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
    return r < 0 ? r : mount_dataset(dataset, true, ret_mount, err);
}

int zfs_mount_generation(struct storage *storage, const char *name, const char *generation,
                         int *ret_mount, struct error *err)
{
    struct store_generation found;
    _cleanup_close_ int lock = store_lock(storage, false, err);
    int r = lock < 0 ? lock : zfs_resolve(storage, name, generation, &found, err);
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
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, false};
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

/* Makes the dataset what the tree is. */
static int change_to(int live, int tree, struct error *err)
{
    _cleanup_changes_ struct change_list changes = {0};
    const struct diff_trees trees = {.now = tree, .was = live};
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
    int r = mount_dataset(dataset, false, &live, err);
    if (r == 0)
        r = zfs_mount_view(storage, name, generation, &view, err);
    return r < 0 ? r : change_to(live, view, err);
}

struct become {
    char before[GENERATION_SIZE]; /* the current generation, which the dataset is */
    int live;                     /* the template's dataset, writable */
};

static int become_begin(struct storage *storage, const char *name, struct become *ret,
                        struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    struct store_generation current = {0};
    int r = zfs_resolve(storage, name, NULL, &current, err);
    zfs_name(storage, dataset, "%s", name);
    if (r == 0)
        r = mount_dataset(dataset, false, &ret->live, err);
    if (r == 0)
        r = check_unchanged(storage, name, ret->live, current.generation.id, err);
    if (r < 0)
        return r;
    (void)snprintf(ret->before, sizeof(ret->before), "%s", current.generation.id);
    return zfs_note(storage, name, "becoming", ret->before, err);
}

/* After the last step, or the one that failed: then the dataset goes back. */
static int become_end(struct storage *storage, const char *name, struct become *become,
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
    struct become become = {.live = -EBADF};
    int r = become_begin(storage, name, &become, err);
    if (r == 0)
        r = change_to(become.live, tree_fd, err);
    if (r == 0)
        r = finish(data, err);
    return become_end(storage, name, &become, r, err);
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

int zfs_commit_recover(struct storage *storage, struct error *err)
{
    return store_for_each(storage, "templates", recover_one, err);
}

/* ---- clones ---- */

/* The clone as it was left, and as it began; with the ids that both are stored with. */
static int open_both(struct storage *storage, const struct store_clone *clone,
                     struct diff_trees *ret, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    zfs_name(storage, dataset, "%s", clone->name);
    int r = mount_dataset(dataset, true, &ret->now, err);
    if (r < 0)
        return r;
    if (!clone->is_shifted)
        return zfs_mount_view(storage, clone->template_name, clone->generation, &ret->was, err);
    r = zfs_shift_ensure(storage, clone->template_name, clone->generation, clone->first_id,
                         dataset, err);
    return r < 0 ? r : mount_dataset(dataset, true, &ret->was, err);
}

int zfs_diff(struct storage *storage, const char *name, const struct provided_list *provided,
             diff_callback callback, void *data, struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, false};
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

static int check_commit(struct storage *storage, const struct commit *commit, const char *name,
                        struct error *err)
{
    struct store_generation current;
    struct template_info info;
    const struct store_clone *clone = &commit->clone;
    if (!streq(name, clone->template_name)) {
        if (zfs_find(storage, name, &info, NULL) <= 0)
            return 0;
        return fail(err, ERROR_EXISTS, EEXIST,
                    "template \"%s\" exists and is not the one that clone %s was made from "
                    "(\"%s\"); choose a new name or that one",
                    name, clone->name, clone->template_name);
    }
    int r = zfs_resolve(storage, name, NULL, &current, err);
    if (r < 0 || streq(current.generation.id, clone->generation))
        return r;
    return fail(
        err, ERROR_BUSY, EBUSY,
        "template \"%s\" has moved on: its current generation is %s, but clone %s was made "
        "from %s; commit to a new name, or repeat the changes in a new clone",
        name, current.generation.id, clone->name, clone->generation);
}

static int apply_to(const struct commit *commit, int to, struct error *err)
{
    _cleanup_close_ int from = dir_open_at(commit->trees.now, ".");
    return from < 0 ? fail(err, ERROR_SYSTEM, from, "commit: ")
                    : changes_apply(&commit->changes, from, to, commit->first_id, err);
}

static int commit_over(struct storage *storage, const struct commit *commit, const char *name,
                       char ret_generation[static GENERATION_SIZE], struct error *err)
{
    struct become become = {.live = -EBADF};
    int r = become_begin(storage, name, &become, err);
    if (r == 0)
        r = apply_to(commit, become.live, err);
    if (r == 0)
        r = zfs_generation_make(storage, name, false, ret_generation, err);
    return become_end(storage, name, &become, r, err);
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
        .trees = {-EBADF, -EBADF, false},
        .provided = provided,
    };
    _cleanup_close_ int lock = store_lock(storage, true, err);
    int r = lock < 0 ? lock : zfs_commit_recover(storage, err);
    if (r == 0)
        r = store_clone_read(storage, name, &commit.clone, err);
    if (r == 0)
        r = check_commit(storage, &commit, info->name, err);
    if (r == 0)
        r = open_both(storage, &commit.clone, &commit.trees, err);
    if (r == 0)
        r = diff_trees(&commit.trees, provided, change_list_add, &commit.changes, err);
    if (r < 0)
        return r;
    commit.first_id = commit.clone.is_shifted ? commit.clone.first_id : 0;
    bool is_own = streq(info->name, commit.clone.template_name);
    if (is_own && commit.changes.n == 0) {
        (void)snprintf(ret_generation, GENERATION_SIZE, "%s", commit.clone.generation);
        return 1;
    }
    if (is_own) {
        r = commit_over(storage, &commit, info->name, ret_generation, err);
    } else {
        lock = fd_close(lock); /* an import takes it itself */
        r = commit_new(storage, &commit, info, ret_generation, err);
    }
    return r < 0 ? r : move_clone(storage, &commit, info->name, ret_generation, err);
}
