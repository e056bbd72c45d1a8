/* SPDX-License-Identifier: Apache-2.0 */
/* How layers come and go: imports are filled by an image worker and published; what nothing
 * refers to is collected. Runs in isolated as root; a tree's content is hostile and only moved
 * or removed here. */
#include "base/text.h"
#include "storage/store.h"
#include "storage/store_json.h"
#include "storage/store_publish.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

void store_layer_key(char *key, size_t size)
{
    uint64_t random = 0;
    random_fill(&random, sizeof(random));
    (void)snprintf(key, size, "%" PRIx64 "-%016" PRIx64, (uint64_t)time(NULL), random);
}

int store_directory_make(int dir_fd, const char *name)
{
    return mkdirat(dir_fd, name, 0755) < 0 ? -errno : 0;
}

int store_remove(struct storage *storage, const char *path)
{
    return storage->driver->store->remove(storage->dir_fd, path, storage->remove_until_ms);
}

static int tree_seal(struct storage *storage, int layer_fd, struct error *err)
{
    if (!storage->driver->store->tree_seal)
        return 0;
    _cleanup_close_ int tree = dir_open_at(layer_fd, "tree");
    int r = tree < 0 ? tree : storage->driver->store->tree_seal(tree);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: seal a tree: ", storage->name) : 0;
}

int store_import_begin(struct storage *storage, char *ret_key, size_t key_size,
                       struct error *err)
{
    char path[80];
    store_layer_key(ret_key, key_size);
    (void)snprintf(path, sizeof(path), "imports/%s", ret_key);
    /* under the shared lock: a collector between mkdir and flock would take it for a leftover
     */
    _cleanup_close_ int lock = store_lock(storage, false, err);
    if (lock < 0)
        return lock;
    _cleanup_close_ int dir = -EBADF;
    if (mkdirat(storage->dir_fd, path, 0700) == 0)
        dir = dir_open_at(storage->dir_fd, path);
    if (dir < 0 || flock(dir, LOCK_SH | LOCK_NB) < 0) {
        int r = -errno;
        (void)unlinkat(storage->dir_fd, path, AT_REMOVEDIR);
        return fail(err, ERROR_SYSTEM, r, "storage %s: make an import: ", storage->name);
    }
    fd_close(storage->import_fd);
    storage->import_fd = TAKE_FD(dir);
    return 0;
}

bool store_import_is_locked(struct storage *storage, const char *key)
{
    char path[NAME_MAX + 16];
    (void)snprintf(path, sizeof(path), "imports/%s", key);
    _cleanup_close_ int dir = dir_open_at(storage->dir_fd, path);
    return dir >= 0 && flock(dir, LOCK_EX | LOCK_NB) < 0;
}

int store_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                 struct error *err)
{
    int r = store_import_begin(storage, ret_key, key_size, err);
    if (r < 0)
        return r;
    r = storage->driver->store->tree_make(storage->import_fd, "tree");
    int tree = r < 0 ? r : dir_open_at(storage->import_fd, "tree");
    if (tree >= 0) {
        *ret_tree_fd = tree;
        return 0;
    }
    (void)store_abort(storage, ret_key, NULL);
    return fail(err, ERROR_SYSTEM, tree, "storage %s: make an import: ", storage->name);
}

int store_import_copy(struct storage *storage, int from_fd, char *ret_key, size_t key_size,
                      struct error *err)
{
    int r = store_import_begin(storage, ret_key, key_size, err);
    if (r == 0)
        r = storage->driver->store->tree_copy(from_fd, storage->import_fd, "tree", err);
    if (r < 0 && storage->import_fd >= 0)
        (void)store_abort(storage, ret_key, NULL);
    return r;
}

int store_publish_stack(struct storage *storage, const struct store_publication *publication,
                        struct layer_stack *stack, struct error *err)
{
    char from[80];
    char to[80];
    const char *key = publication->key;
    const char *name = publication->info->name;
    if (stack->n >= LAYERS_MAX)
        return fail(err, ERROR_NO_SPACE, E2BIG, "template \"%s\": it has %d layers already",
                    name, LAYERS_MAX);
    struct layer *top = &stack->items[stack->n++];
    *top = (struct layer){0};
    (void)snprintf(from, sizeof(from), "imports/%s", key);
    (void)snprintf(to, sizeof(to), "layers/%s", key);
    (void)snprintf(top->id, LAYER_ID_SIZE, "%s", key);
    if (renameat(storage->dir_fd, from, storage->dir_fd, to) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: publish %s: ", storage->name, key);
    int r = store_generation_publish(storage, publication->info, publication->generation, stack,
                                     publication->about, err);
    /* on failure it is an import again, for the caller to abort */
    if (r < 0 && store_is_published(storage, name, publication->generation) != 1)
        (void)renameat(storage->dir_fd, to, storage->dir_fd, from);
    return r;
}

int store_publish_locked(struct storage *storage, const char *key,
                         const struct template_info *info, const char *generation,
                         struct error *err)
{
    struct layer_stack stack = {.n = 0};
    const struct store_publication publication = {key, info, generation, NULL};
    return store_publish_stack(storage, &publication, &stack, err);
}

int store_layer_describe(struct storage *storage, int layer_fd, uint32_t first_id,
                         const struct layer_content *content, struct error *err)
{
    const char *chain = content && *content->chain ? content->chain : NULL;
    const char *blob = chain && *content->blob ? content->blob : NULL;
    uint64_t bytes = 0;
    uint64_t entries = 0;
    _cleanup_close_ int tree = dir_open_at(layer_fd, "tree");
    int r = tree < 0 ? tree : tree_usage(tree, &bytes, &entries);
    if (r == 0)
        r = store_json_write_unsynced(
            layer_fd, "layer.json",
            json_pack("{s:I, s:I, s:I, s:s*, s:s*}", "first_id", (json_int_t)first_id, "bytes",
                      (json_int_t)bytes, "entries", (json_int_t)entries, "chain", chain, "blob",
                      blob));
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: write the layer: ", storage->name)
                 : 0;
}

int store_layer_write(struct storage *storage, int layer_fd, uint32_t first_id,
                      struct error *err)
{
    int r = store_layer_describe(storage, layer_fd, first_id, NULL, err);
    if (r < 0)
        return r;
    _cleanup_close_ int tree = dir_open_at(layer_fd, "tree");
    r = tree < 0 ? tree : syncfs(tree) < 0 ? -errno : 0;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: write the layer: ", storage->name)
                 : 0;
}

int store_import_complete(struct storage *storage, const char *key, struct error *err)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "imports/%s", key);
    _cleanup_close_ int dir = dir_open_at(storage->dir_fd, path);
    if (dir < 0)
        return fail(err, ERROR_SYSTEM, dir, "storage %s: import %s: ", storage->name, key);
    int r = store_layer_write(storage, dir, 0, err);
    return r < 0 ? r : tree_seal(storage, dir, err);
}

int store_publish(struct storage *storage, const char *key, const struct template_info *info,
                  char ret_generation[static GENERATION_SIZE], struct error *err)
{
    int r = store_import_complete(storage, key, err);
    if (r < 0)
        return r;
    _cleanup_close_ int lock = store_lock(storage, true, err);
    r = lock < 0 ? lock : store_generation_new(storage, info->name, ret_generation, err);
    return r < 0 ? r : store_publish_locked(storage, key, info, ret_generation, err);
}

int store_abort(struct storage *storage, const char *key, struct error *err)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "imports/%s", key);
    int r = store_remove(storage, path);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: remove import %s: ", storage->name,
                        key)
                 : 0;
}

int store_for_each(struct storage *storage, const char *directory,
                   int (*each)(struct storage *storage, const char *name, void *data),
                   void *data)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(storage->dir_fd, directory));
    if (!dir)
        return -errno;
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        int done = entry->d_name[0] != '.' ? each(storage, entry->d_name, data) : 0;
        if (done != 0)
            return done;
    }
    return r;
}

/* An import whose lock is free belongs to nobody. */
static int collect_import(struct storage *storage, const char *name, void *data)
{
    return store_import_is_locked(storage, name) ? 0 : store_discard(storage, "imports", name);
}

void store_layer_mark(struct buffer *marks, const struct layer *layer)
{
    buffer_printf(marks, "|%s|", layer->id);
}

static void stack_mark(struct buffer *marks, const struct layer_stack *stack)
{
    for (size_t i = 0; i < stack->n; i++)
        store_layer_mark(marks, &stack->items[i]);
}

/* One that is left is being filled, above layers that are there already. */
static int mark_import(struct storage *storage, const char *name, void *data)
{
    char path[NAME_MAX + 16];
    _cleanup_buffer_ struct buffer uses = {0};
    (void)snprintf(path, sizeof(path), "imports/%s/uses", name);
    int r = file_read_at(storage->dir_fd, path, LAYERS_MAX * (LAYER_ID_SIZE + 2), &uses);
    if (r < 0)
        return r == -ENOENT || r == -ENOTDIR ? 0 : r;
    buffer_append(data, uses.data, uses.length);
    return 0;
}

static int mark_template(struct storage *storage, const char *name, void *data)
{
    struct buffer *marks = data;
    char path[NAME_MAX + 32];
    (void)snprintf(path, sizeof(path), "templates/%s/generations", name);
    int fd = dir_open_at(storage->dir_fd, path);
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (!dir) /* what cannot be read may need any layer: rather collect nothing */
        return fd == -ENOENT || fd == -ENOTDIR ? 0 : -errno;
    struct dirent *entry = NULL;
    int left = dir_next(dir, &entry);
    for (; left > 0; left = dir_next(dir, &entry)) {
        struct layer_stack stack;
        if (!name_is_generation(entry->d_name))
            continue;
        json_t *value = store_json_read(fd, entry->d_name);
        int r = layer_stack_from_json(json_object_get(value, "layers"), &stack);
        json_decref(value);
        if (r < 0)
            return r; /* damaged: rather collect nothing than a layer that is needed */
        stack_mark(marks, &stack);
    }
    return left;
}

static int mark_clone(struct storage *storage, const char *name, void *data)
{
    char path[NAME_MAX + 32];
    _cleanup_store_clone_ struct store_clone clone = {0};
    (void)snprintf(path, sizeof(path), "clones/%s/clone.json", name);
    int exists = file_exists_at(storage->dir_fd, path);
    if (exists <= 0)
        return exists; /* it names no layer yet */
    if (store_clone_read(storage, name, &clone, NULL) < 0)
        return -EIO;
    stack_mark(data, &clone.stack);
    return 0;
}

static int collect_layer(struct storage *storage, const char *name, void *data)
{
    const struct buffer *marks = data;
    char mark[NAME_MAX + 4];
    (void)snprintf(mark, sizeof(mark), "|%s|", name);
    if (marks->data && strstr(marks->data, mark))
        return 0;
    int r = store_discard(storage, "layers", name);
    return r == -EBUSY ? 0 : r; /* it goes another time, and the others now */
}

/* What was being made, or removed. */
static int collect_template(struct storage *storage, const char *name, void *data)
{
    return name_check_template(name, NULL) < 0 ? 0 : store_publish_settle(storage, name);
}

static int recover_one(struct storage *storage, const char *name, void *data)
{
    return name_is_clone(name) ? storage->driver->store->recover(storage, name, data) : 0;
}

int store_recover(struct storage *storage, struct error *err)
{
    if (!storage->driver->store->recover)
        return 0;
    struct error one = {0};
    int r = store_for_each(storage, "clones", recover_one, &one);
    if (r < 0 && err)
        *err = one;
    if (r < 0 && one.code == ERROR_NONE)
        return fail(err, ERROR_SYSTEM, r, "storage %s: clones: ", storage->name);
    return r;
}

static int collect_locked(struct storage *storage, struct error *err)
{
    _cleanup_buffer_ struct buffer marks = {0};
    _cleanup_close_ int lock = store_lock(storage, true, err);
    if (lock < 0)
        return lock;
    int r = store_recover(storage, err);
    if (r < 0)
        return r;
    r = store_for_each(storage, "imports", collect_import, NULL);
    if (r == 0)
        r = store_for_each(storage, "templates", collect_template, NULL);
    if (r == 0)
        r = store_for_each(storage, "templates", mark_template, &marks);
    if (r == 0)
        r = store_for_each(storage, "clones", mark_clone, &marks);
    if (r == 0)
        r = store_for_each(storage, "imports", mark_import, &marks);
    if (r == 0 && !marks.failed)
        r = store_for_each(storage, "layers", collect_layer, &marks);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: collect: ", storage->name) : 0;
}

/* Starts do not wait for the trash, and it goes whatever failed before: a full disk needs that.
 */
int store_collect(struct storage *storage, struct error *err)
{
    int r = collect_locked(storage, err);
    int trash = store_trash_empty(storage, r < 0 ? NULL : err);
    return r < 0 ? r : trash;
}
