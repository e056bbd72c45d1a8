/* SPDX-License-Identifier: Apache-2.0 */
/* Diff and commit of whole trees. A commit is a copy of the clone's tree, published as any
 * import is; the clone itself stays where it is. What its clone.json will say stands beside it
 * as next.json before the generation becomes visible, so that a crash is settled either way.
 * Runs in isolated as root; the clone is hostile, and somebody may still write into it. */
#include "base/text.h"
#include "storage/copy_entry.h"
#include "storage/diff.h"
#include "storage/store_commit.h"
#include "storage/store_publish.h"
#include "storage/trees.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int open_both(struct storage *storage, const struct store_clone *clone,
                     struct diff_trees *ret, struct error *err)
{
    ret->now = trees_open_clone(storage, clone->name, err);
    if (ret->now >= 0)
        ret->was = trees_open_base(storage, clone, err);
    return ret->was < 0 ? (ret->now < 0 ? ret->now : ret->was) : 0;
}

int trees_diff(struct storage *storage, const char *name, const struct provided_list *provided,
               diff_callback callback, void *data, struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_diff_trees_ struct diff_trees trees = {-EBADF, -EBADF, false, false};
    int r = store_clone_read(storage, name, &clone, err);
    if (r == 0)
        r = open_both(storage, &clone, &trees, err);
    return r < 0 ? r : diff_trees(&trees, provided, callback, data, err);
}

/* The file of the generation comes back in place of isolate's. */
static int restore_one(int tree, int base, const char *path)
{
    struct stat st;
    struct stat of_parent;
    const char *name = NULL;
    _cleanup_close_ int found = store_open_parent(tree, path, &name);
    _cleanup_close_ int from = store_open_parent(base, path, &name);
    _cleanup_close_ int to = found < 0 ? found : dir_open_at(found, ".");
    if (to < 0 || fstat(to, &of_parent) < 0)
        return to < 0 ? to : -errno;
    if (unlinkat(to, name, 0) < 0 && errno != ENOENT)
        return -errno;
    const struct copy_place place = {.from = from, .to = to, .may_inherit = true};
    int r = 0;
    if (from >= 0 && fstatat(from, name, &st, AT_SYMLINK_NOFOLLOW) == 0 && !S_ISDIR(st.st_mode))
        r = copy_one(&place, name, &st);
    const struct timespec times[2] = {of_parent.st_atim, of_parent.st_mtim};
    return r < 0 ? r : futimens(to, times) < 0 ? -errno : 0;
}

static int restore_provided(int import_fd, int base, const struct provided_list *provided)
{
    _cleanup_close_ int tree = dir_open_at(import_fd, "tree");
    int r = tree < 0 ? tree : 0;
    for (size_t i = 0; r == 0 && provided && i < provided->n; i++)
        if (store_is_provided(tree, provided->items[i].path, provided))
            r = restore_one(tree, base, provided->items[i].path);
    return r;
}

struct commit {
    struct store_clone clone;
    struct store_clone next; /* borrows nothing: root_path is NULL */
    struct diff_trees trees;
    const struct template_info *info;
    const struct provided_list *provided;
    int clone_fd;
};

static void commit_clear(struct commit *commit)
{
    store_clone_clear(&commit->clone);
    diff_trees_clear(&commit->trees);
    commit->clone_fd = fd_close(commit->clone_fd);
}

/* 1 where there is nothing to commit. */
static int commit_open(struct storage *storage, const char *name, struct commit *commit,
                       struct error *err)
{
    _cleanup_close_ int lock = store_lock(storage, true, err);
    int r = lock < 0 ? lock : store_recover(storage, err);
    if (r == 0)
        r = store_clone_read(storage, name, &commit->clone, err);
    if (r == 0)
        r = store_commit_check(storage, &commit->clone, commit->info->name, err);
    if (r < 0)
        return r;
    commit->clone_fd = store_clone_open(storage, name, err);
    if (commit->clone_fd < 0)
        return commit->clone_fd;
    r = open_both(storage, &commit->clone, &commit->trees, err);
    if (r < 0)
        return r;
    bool is_own = streq(commit->info->name, commit->clone.template_name) &&
                  store_clone_is_current(storage, &commit->clone);
    fd_closep(&lock);
    /* where it cannot be told, it is committed */
    return is_own && diff_is_any(&commit->trees, commit->provided, NULL) == 0;
}

/* The copy, as an import. */
static int commit_copy(struct storage *storage, const struct commit *commit, char *key,
                       size_t key_size, struct error *err)
{
    _cleanup_close_ int from = dir_open_at(commit->trees.now, ".");
    if (from < 0)
        return fail(err, ERROR_SYSTEM, from, "clone %s: ", commit->clone.name);
    int r = store_import_copy(storage, from, key, key_size, err);
    if (r < 0)
        return r;
    r = restore_provided(storage->import_fd, commit->trees.was, commit->provided);
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "clone %s: leave out what isolate wrote: ", commit->clone.name)
                 : store_import_complete(storage, key, err);
}

static int commit_publish(struct storage *storage, struct commit *commit, const char *key,
                          struct error *err)
{
    struct store_clone *next = &commit->next;
    _cleanup_close_ int lock = store_lock(storage, true, err);
    int r =
        lock < 0 ? lock : store_commit_check(storage, &commit->clone, commit->info->name, err);
    *next = commit->clone;
    if (r == 0)
        r = store_generation_new(storage, commit->info->name, next->generation, err);
    if (r < 0)
        return r;
    (void)snprintf(next->template_name, sizeof(next->template_name), "%s", commit->info->name);
    next->stack = (struct layer_stack){.n = 1};
    (void)snprintf(next->stack.items[0].id, LAYER_ID_SIZE, "%s", key);
    r = store_clone_write(commit->clone_fd, "next.json", next);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: write next.json: ", next->name);
    r = store_publish_locked(storage, key, commit->info, next->generation, err);
    int settled = trees_recover(storage, next->name, r < 0 ? NULL : err);
    return r < 0 ? r : settled;
}

int trees_commit(struct storage *storage, const char *name,
                 const struct provided_list *provided, const struct template_info *info,
                 char ret_generation[static GENERATION_SIZE], struct error *err)
{
    char key[LAYER_ID_SIZE] = "";
    _cleanup_(commit_clear) struct commit commit = {
        .trees = {-EBADF, -EBADF, false, false},
        .info = info,
        .provided = provided,
        .clone_fd = -EBADF,
    };
    int r = commit_open(storage, name, &commit, err);
    if (r > 0)
        (void)snprintf(ret_generation, GENERATION_SIZE, "%s", commit.clone.generation);
    if (r != 0)
        return r;
    r = commit_copy(storage, &commit, key, sizeof(key), err);
    if (r == 0)
        r = commit_publish(storage, &commit, key, err);
    if (r < 0) {
        if (*key)
            (void)!store_abort(storage, key, NULL);
        return r;
    }
    (void)snprintf(ret_generation, GENERATION_SIZE, "%s", commit.next.generation);
    return 0;
}

int trees_recover(struct storage *storage, const char *name, struct error *err)
{
    _cleanup_close_ int dir = store_clone_open(storage, name, err);
    if (dir < 0)
        return dir;
    int r = file_exists_at(dir, "next.json");
    if (r == 0)
        return 0;
    _cleanup_store_clone_ struct store_clone next = {0};
    if (r > 0)
        r = store_clone_read_file(dir, "next.json", &next);
    if (r == 0)
        r = store_is_published(storage, next.template_name, next.generation);
    if (r > 0)
        r = renameat(dir, "next.json", dir, "clone.json") < 0 ? -errno : 0;
    else if (r == 0 || r == -EINVAL) /* not written whole, so nothing came of it */
        r = unlinkat(dir, "next.json", 0) < 0 ? -errno : 0;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: settle its commit: ", name) : 0;
}
