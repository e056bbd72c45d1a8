/* SPDX-License-Identifier: Apache-2.0 */
/* Commit: a clone's upper directory becomes a layer of a new generation, and the clone goes on
 * with an empty one on top of it. Runs in isolated as root, under the exclusive lock; the upper
 * is hostile and is moved, never followed.
 *
 * All decisions are written to clones/CLONE/commit.json first; every step after that may be
 * done again. What the clone will be is made ready in clones/CLONE/next. The generation becomes
 * current after everything that may fail for lack of space; until then a failure undoes all. A
 * crash is finished by overlay_commit_recover. */
#include "base/text.h"
#include "storage/compare.h"
#include "storage/copy_tree.h"
#include "storage/overlay.h"
#include "storage/store_commit.h"
#include "storage/store_image.h"
#include "storage/store_json.h"
#include "storage/store_publish.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* What commit.json says. */
struct commit {
    struct template_info info;
    json_t *defaults; /* those of info, where they were read from commit.json */
    char generation[GENERATION_SIZE];
    char key[LAYER_ID_SIZE];
    json_t *remove; /* paths of provided files that the layer must not contain */

    struct overlay_clone clone; /* as clone.json says; its image is not mounted */
    bool is_copied;             /* it has an image: what is in there is copied, not moved */
};

static void commit_clear(struct commit *commit)
{
    json_decref(commit->remove);
    json_decref(commit->defaults);
    overlay_clone_clear(&commit->clone);
}

static int commit_write(const struct commit *commit)
{
    return store_json_write(
        commit->clone.clone_fd, "commit.json",
        json_pack("{s:s, s:s, s:O*, s:s, s:s, s:O}", "template", commit->info.name, "source",
                  commit->info.source, "defaults", commit->info.defaults, "generation",
                  commit->generation, "key", commit->key, "remove", commit->remove));
}

static int commit_from_json(const json_t *value, struct commit *commit)
{
    const char *name = NULL;
    const char *source = NULL;
    const char *generation = NULL;
    const char *key = NULL;
    json_t *remove = NULL;
    if (json_unpack((json_t *)value, "{s:s, s:s, s:s, s:s, s:O}", "template", &name, "source",
                    &source, "generation", &generation, "key", &key, "remove", &remove) < 0)
        return -EINVAL;
    commit->remove = remove;
    commit->defaults = json_incref(json_object_get(value, "defaults"));
    commit->info.defaults = commit->defaults;
    if (!json_is_array(remove) || name_check_template(name, NULL) < 0 ||
        !name_is_generation(generation) || strlen(key) >= sizeof(commit->key) ||
        strchr(key, '/') || key[0] == '.' || !key[0])
        return -EINVAL;
    (void)snprintf(commit->info.name, sizeof(commit->info.name), "%s", name);
    (void)snprintf(commit->info.source, sizeof(commit->info.source), "%s", source);
    (void)snprintf(commit->generation, sizeof(commit->generation), "%s", generation);
    (void)snprintf(commit->key, sizeof(commit->key), "%s", key);
    return 0;
}

static bool clone_is_next(const struct commit *commit)
{
    return streq(commit->clone.store.template_name, commit->info.name) &&
           streq(commit->clone.store.generation, commit->generation);
}

/* Its directory is as old as it was. */
static int remove_one(int parent, const char *name)
{
    struct stat st;
    if (fstat(parent, &st) < 0)
        return -errno;
    if (unlinkat(parent, name, 0) < 0)
        return errno == ENOENT ? 0 : -errno;
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    return utimensat(parent, ".", times, 0) < 0 ? -errno : 0;
}

static int remove_provided(const struct commit *commit, int tree)
{
    size_t index = 0;
    json_t *path = NULL;
    json_array_foreach(commit->remove, index, path)
    {
        const char *name = NULL;
        _cleanup_close_ int parent = store_open_parent(tree, json_string_value(path), &name);
        int r = parent >= 0 ? remove_one(parent, name) : 0;
        if (r < 0)
            return r;
    }
    return 0;
}

static int layer_make(struct storage *storage, const struct commit *commit)
{
    char layer[64];
    (void)snprintf(layer, sizeof(layer), "layers/%s", commit->key);
    return mkdirat(storage->dir_fd, layer, 0700) < 0 && errno != EEXIST ? -errno : 0;
}

/* Upper → layers/KEY/tree, without what isolate provided. */
static int move_upper(struct storage *storage, const struct commit *commit)
{
    char tree[80];
    (void)snprintf(tree, sizeof(tree), "layers/%s/tree", commit->key);
    int exists = file_exists_at(storage->dir_fd, tree);
    if (exists != 0)
        return exists > 0 ? 0 : exists;
    _cleanup_close_ int upper = dir_open_at(commit->clone.clone_fd, "upper");
    int r = upper < 0 ? upper : remove_provided(commit, upper);
    if (r == 0)
        r = layer_make(storage, commit);
    if (r == 0 && renameat(commit->clone.clone_fd, "upper", storage->dir_fd, tree) < 0)
        r = -errno;
    return r;
}

/* ---- what is in an image ---- */

/* Its upper as an import, which takes as long as it takes: under no lock. Nothing where the
 * clone has no image. */
static int import_upper(struct storage *storage, const char *name, char *ret_key, size_t size,
                        struct error *err)
{
    _cleanup_overlay_clone_ struct overlay_clone clone = OVERLAY_CLONE_NONE;
    int r = overlay_clone_open(storage, name, &clone, err);
    if (r < 0 || clone.image_fd < 0)
        return r;
    _cleanup_close_ int upper = dir_open_at(clone.image_fd, "upper");
    if (upper < 0)
        return fail(err, ERROR_SYSTEM, upper, "clone %s: its image: ", name);
    r = store_import_begin(storage, ret_key, size, err);
    return r < 0 ? r : copy_upper(upper, storage->import_fd, "tree", err);
}

/* The import → layers/KEY/tree, which nobody collects while the lock is held. */
static int adopt_copy(struct storage *storage, const struct commit *commit)
{
    char from[80];
    char to[80];
    (void)snprintf(from, sizeof(from), "imports/%s/tree", commit->key);
    (void)snprintf(to, sizeof(to), "layers/%s/tree", commit->key);
    int r = layer_make(storage, commit);
    return r < 0 ? r : renameat(storage->dir_fd, from, storage->dir_fd, to) < 0 ? -errno : 0;
}

/* ---- the steps ---- */

/* Upper and work of the clone as it will be. */
static int make_next_upper(struct storage *storage, const struct commit *commit, int next_fd,
                           const struct store_clone *next, struct error *err)
{
    _cleanup_overlay_root_ struct overlay_root root = {0};
    int r = overlay_root_below(storage, next, -EBADF, &root, err);
    if (r < 0)
        return r;
    if (!commit->is_copied)
        return overlay_upper_make(next_fd, next, &root, err);
    r = store_image_make_like(next_fd, STORE_IMAGE, commit->clone.clone_fd, next->durable, err);
    return r < 0 ? error_prefix(err, r, "clone %s: its next image: ", next->name)
                 : overlay_image_fill(next_fd, STORE_IMAGE, next, &root, err);
}

/* The clone as it will be, in clones/CLONE/next; its clone.json is written last. */
static int make_next(struct storage *storage, const struct commit *commit,
                     const struct layer_stack *stack, struct error *err)
{
    int r = tree_remove(commit->clone.clone_fd, "next");
    _cleanup_close_ int fd = r < 0 ? r : dir_make_at(commit->clone.clone_fd, "next", 0700);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd,
                    "clone %s: make its next state: ", commit->clone.store.name);
    struct store_clone next = commit->clone.store; /* borrows root_path, which is NULL */
    next.stack = *stack;
    (void)snprintf(next.template_name, sizeof(next.template_name), "%s", commit->info.name);
    (void)snprintf(next.generation, sizeof(next.generation), "%s", commit->generation);
    r = make_next_upper(storage, commit, fd, &next, err);
    if (r < 0)
        return r;
    r = store_clone_write(fd, "clone.json", &next);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: write clone.json: ", next.name) : 0;
}

/* next/… → the clone's own. Needs no space. */
static int switch_to_next(const struct commit *commit)
{
    static const char *const names[] = {STORE_IMAGE, "upper", "work", "clone.json"};
    _cleanup_close_ int next = dir_open_at(commit->clone.clone_fd, "next");
    if (next < 0)
        return next == -ENOENT ? 0 : next;
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        int r = file_exists_at(next, names[i]);
        if (r == 0)
            continue;
        if (r > 0)
            r = streq(names[i], "work") ? tree_remove(commit->clone.clone_fd, "work") : 0;
        if (r < 0)
            return r;
        if (renameat(next, names[i], commit->clone.clone_fd, names[i]) < 0)
            return -errno;
    }
    return tree_remove(commit->clone.clone_fd, "next");
}

static int commit_end(const struct commit *commit)
{
    _cleanup_close_ int dir = dir_open_at(commit->clone.clone_fd, ".");
    if (dir < 0 || fsync(dir) < 0)
        return -errno;
    if (unlinkat(commit->clone.clone_fd, "commit.json", 0) < 0 && errno != ENOENT)
        return -errno;
    return fsync(dir) < 0 ? -errno : 0;
}

/* Every step up to the visible generation, which is the last. */
static int commit_prepare(struct storage *storage, const struct commit *commit,
                          struct error *err)
{
    char path[64];
    struct layer_stack stack = commit->clone.store.stack;
    struct layer *top = &stack.items[stack.n++];
    (void)snprintf(top->id, sizeof(top->id), "%s", commit->key);
    top->first_id = commit->clone.store.first_id;
    int r = move_upper(storage, commit);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "clone %s: make a layer of its changes: ", commit->clone.store.name);
    r = make_next(storage, commit, &stack, err);
    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "layers/%s", commit->key);
    _cleanup_close_ int layer = dir_open_at(storage->dir_fd, path);
    if (layer < 0)
        return fail(err, ERROR_SYSTEM, layer, "storage overlay: layer %s: ", commit->key);
    r = store_layer_write(storage, layer, top->first_id, err); /* this syncs the file system */
    return r < 0 ? r
                 : store_generation_publish(storage, &commit->info, commit->generation, &stack,
                                            NULL, err);
}

/* Takes back whatever commit_prepare did. Needs no space. */
static int commit_undo(struct storage *storage, const struct commit *commit)
{
    char path[80];
    int r = tree_remove(commit->clone.clone_fd, "next");
    (void)snprintf(path, sizeof(path), "layers/%s/tree", commit->key);
    if (r == 0 && !commit->is_copied &&
        renameat(storage->dir_fd, path, commit->clone.clone_fd, "upper") < 0 && errno != ENOENT)
        r = -errno;
    (void)snprintf(path, sizeof(path), "layers/%s", commit->key);
    if (r == 0)
        r = tree_remove(storage->dir_fd, path);
    return r < 0 ? r : commit_end(commit);
}

/* From commit.json to the end, from wherever an earlier run stopped. */
static int commit_run(struct storage *storage, const struct commit *commit, struct error *err)
{
    int published = clone_is_next(commit)
                        ? 1
                        : store_is_published(storage, commit->info.name, commit->generation);
    int r = published < 0
                ? fail(err, ERROR_SYSTEM, published, "template \"%s\": ", commit->info.name)
                : 0;
    if (published == 0) {
        r = commit_prepare(storage, commit, err);
        if (r < 0)
            published = store_is_published(storage, commit->info.name, commit->generation);
        if (r < 0 && published == 0 && commit_undo(storage, commit) == 0)
            return r;
    }
    if (r < 0 && published <= 0)
        return error_prefix(err, r, "clone %s: half committed, to be finished later: ",
                            commit->clone.store.name);
    r = switch_to_next(commit);
    if (r == 0)
        r = commit_end(commit);
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "clone %s: finish the commit: ", commit->clone.store.name)
                 : 0;
}

static int commit_check(struct storage *storage, const struct commit *commit, struct error *err)
{
    const struct store_clone *clone = &commit->clone.store;
    if (clone->stack.n >= LAYERS_MAX)
        return fail(err, ERROR_NO_SPACE, E2BIG,
                    "template \"%s\": it has %d layers already, which is the limit; make a new "
                    "template of a single layer from its content, and go on with that",
                    clone->template_name, LAYERS_MAX);
    return store_commit_check(storage, clone, commit->info.name, err);
}

/* Whether the current generation is what the clone is already. Where it cannot be told, say for
 * directories that are nested too deep for diff, it is committed. */
static bool is_current_already(struct storage *storage, const struct commit *commit,
                               const struct provided_list *provided)
{
    const struct store_clone *clone = &commit->clone.store;
    _cleanup_overlay_clone_ struct overlay_clone mounted = OVERLAY_CLONE_NONE;
    return streq(commit->info.name, clone->template_name) &&
           store_clone_is_current(storage, clone) &&
           overlay_clone_open(storage, clone->name, &mounted, NULL) == 0 &&
           overlay_is_changed(storage, &mounted, provided, NULL) == 0;
}

/* Finds what is not to become part of the layer. */
static int list_provided(const struct commit *commit, int upper,
                         const struct provided_list *provided)
{
    for (size_t i = 0; provided && i < provided->n; i++) {
        const char *path = provided->items[i].path;
        if (store_is_provided(upper, path, provided) &&
            json_array_append_new(commit->remove, json_string(path)) < 0)
            return -ENOMEM;
    }
    return 0;
}

/* What becomes the layer, as it is before the commit is written down. */
static int open_tree(struct storage *storage, const struct commit *commit)
{
    char tree[80];
    if (!commit->is_copied)
        return dir_open_at(commit->clone.clone_fd, "upper");
    (void)snprintf(tree, sizeof(tree), "layers/%s/tree", commit->key);
    int r = adopt_copy(storage, commit);
    return r < 0 ? r : dir_open_at(storage->dir_fd, tree);
}

static int commit_begin(struct storage *storage, struct commit *commit,
                        const struct provided_list *provided, struct error *err)
{
    int r = commit_check(storage, commit, err);
    if (r == 0)
        r = store_generation_new(storage, commit->info.name, commit->generation, err);
    if (r < 0)
        return r;
    if (!commit->is_copied)
        store_layer_key(commit->key, sizeof(commit->key));
    commit->remove = json_array();
    _cleanup_close_ int tree = open_tree(storage, commit);
    r = tree < 0 ? tree : list_provided(commit, tree, provided);
    if (r == 0 && commit->is_copied)
        r = remove_provided(commit, tree);
    /* the upper of a volatile overlay is not on disk yet, but must be before a record says that
     * it is a layer: after a power cut that record is carried out */
    if (r == 0 && syncfs(tree) < 0)
        r = -errno;
    if (r == 0)
        r = commit_write(commit);
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "clone %s: begin the commit: ", commit->clone.store.name)
                 : 0;
}

static int commit_open(struct storage *storage, const char *name, struct commit *commit,
                       struct error *err)
{
    struct overlay_clone *clone = &commit->clone;
    int r = store_clone_read(storage, name, &clone->store, err);
    if (r < 0)
        return r;
    clone->clone_fd = store_clone_open(storage, name, err);
    if (clone->clone_fd < 0)
        return clone->clone_fd;
    int is_copied = file_exists_at(clone->clone_fd, STORE_IMAGE);
    if (is_copied < 0)
        return fail(err, ERROR_SYSTEM, is_copied, "clone %s: its image: ", name);
    commit->is_copied = is_copied;
    return 0;
}

int overlay_commit_recover(struct storage *storage, const char *name, struct error *err)
{
    _cleanup_(commit_clear) struct commit commit = {.clone = OVERLAY_CLONE_NONE};
    char path[CLONE_NAME_SIZE + 32];
    (void)snprintf(path, sizeof(path), "clones/%s/commit.json", name);
    int r = file_exists_at(storage->dir_fd, path);
    if (r <= 0)
        return r == 0 ? 0 : fail(err, ERROR_SYSTEM, r, "clone %s: its commit: ", name);
    r = commit_open(storage, name, &commit, err);
    if (r < 0)
        return r;
    json_t *value = store_json_read(commit.clone.clone_fd, "commit.json");
    r = value ? commit_from_json(value, &commit) : -EINVAL;
    json_decref(value);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "clone %s: commit.json is damaged; destroy the clone: ", name);
    r = commit_run(storage, &commit, err);
    /* undone for lack of space, say: that is a state as good as any */
    (void)snprintf(path, sizeof(path), "clones/%s/commit.json", name);
    return r < 0 && file_exists_at(storage->dir_fd, path) == 0 ? 0 : r;
}

/* 1 where there is nothing to commit. Under the exclusive lock. */
static int commit_locked(struct storage *storage, const char *name, struct commit *commit,
                         const struct provided_list *provided, struct error *err)
{
    int r = store_recover(storage, err);
    if (r == 0)
        r = commit_open(storage, name, commit, err);
    if (r == 0 && is_current_already(storage, commit, provided)) {
        (void)snprintf(commit->generation, GENERATION_SIZE, "%s",
                       commit->clone.store.generation);
        return 1;
    }
    if (r == 0)
        r = commit_begin(storage, commit, provided, err);
    return r < 0 ? r : commit_run(storage, commit, err);
}

int overlay_commit(struct storage *storage, const char *name,
                   const struct provided_list *provided, const struct template_info *info,
                   char ret_generation[static GENERATION_SIZE], struct error *err)
{
    _cleanup_(commit_clear) struct commit commit = {.info = *info, .clone = OVERLAY_CLONE_NONE};
    int r = import_upper(storage, name, commit.key, sizeof(commit.key), err);
    if (r == 0) {
        _cleanup_close_ int lock = store_lock(storage, true, err);
        r = lock < 0 ? lock : commit_locked(storage, name, &commit, provided, err);
    }
    /* what is left of the copy; a layer that came of it is collected */
    if (commit.is_copied || *commit.key)
        (void)!store_abort(storage, commit.key, NULL);
    if (r >= 0)
        (void)snprintf(ret_generation, GENERATION_SIZE, "%s", commit.generation);
    return r;
}
