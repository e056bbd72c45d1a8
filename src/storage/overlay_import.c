/* SPDX-License-Identifier: Apache-2.0 */
/* How layers come and go: imports are filled by an image worker and published; what nothing
 * refers to is collected. Runs in isolated as root; a tree's content is hostile and only moved
 * or removed here. */
#include "base/text.h"
#include "storage/overlay.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

void overlay_layer_key(char *key, size_t size)
{
    uint64_t random = 0;
    random_fill(&random, sizeof(random));
    (void)snprintf(key, size, "%" PRIx64 "-%016" PRIx64, (uint64_t)time(NULL), random);
}

int overlay_import(struct storage *storage, char *ret_key, size_t key_size, int *ret_tree_fd,
                   struct error *err)
{
    char path[80];
    overlay_layer_key(ret_key, key_size);
    (void)snprintf(path, sizeof(path), "imports/%s", ret_key);
    /* under the shared lock: a collector between mkdir and flock would take it for a leftover
     */
    _cleanup_close_ int lock = overlay_lock(storage, false, err);
    if (lock < 0)
        return lock;
    if (mkdirat(storage->dir_fd, path, 0700) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage overlay: make an import: ");
    _cleanup_close_ int dir = dir_open_at(storage->dir_fd, path);
    _cleanup_close_ int tree = -EBADF;
    if (dir >= 0 && flock(dir, LOCK_SH | LOCK_NB) == 0 && mkdirat(dir, "tree", 0755) == 0)
        tree = dir_open_at(dir, "tree");
    if (tree < 0 || flock(tree, LOCK_SH | LOCK_NB) < 0) {
        int r = -errno;
        (void)!tree_remove(storage->dir_fd, path);
        return fail(err, ERROR_SYSTEM, r, "storage overlay: make an import: ");
    }
    *ret_tree_fd = TAKE_FD(tree);
    return 0;
}

int overlay_publish(struct storage *storage, const char *key, const struct template_info *info,
                    char ret_generation[static GENERATION_SIZE], struct error *err)
{
    char from[80];
    char to[80];
    struct layer_stack stack = {.n = 1};
    (void)snprintf(from, sizeof(from), "imports/%s", key);
    (void)snprintf(to, sizeof(to), "layers/%s", key);
    (void)snprintf(stack.items[0].id, LAYER_ID_SIZE, "%s", key);
    _cleanup_close_ int dir = dir_open_at(storage->dir_fd, from);
    if (dir < 0)
        return fail(err, ERROR_SYSTEM, dir, "storage overlay: import %s: ", key);
    int r = overlay_layer_write(dir, 0, err);
    if (r < 0)
        return r;
    _cleanup_close_ int lock = overlay_lock(storage, true, err);
    if (lock < 0)
        return lock;
    if (renameat(storage->dir_fd, from, storage->dir_fd, to) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage overlay: publish %s: ", key);
    r = overlay_generation_new(storage, info->name, ret_generation, err);
    if (r == 0)
        r = overlay_generation_publish(storage, info, ret_generation, &stack, false, err);
    char generation[160];
    (void)snprintf(generation, sizeof(generation), "templates/%s/generations/%s", info->name,
                   ret_generation);
    /* on failure it is an import again, for the caller to abort */
    if (r < 0 && faccessat(storage->dir_fd, generation, F_OK, 0) < 0)
        (void)renameat(storage->dir_fd, to, storage->dir_fd, from);
    return r;
}

int overlay_abort(struct storage *storage, const char *key, struct error *err)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "imports/%s", key);
    int r = tree_remove(storage->dir_fd, path);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage overlay: remove import %s: ", key) : 0;
}

/* Calls `each` for every entry of a directory of ours; "." and ".." left out. */
static int for_each_entry(struct storage *storage, const char *directory,
                          int (*each)(struct storage *storage, const char *name, void *data),
                          void *data)
{
    int fd = dir_open_at(storage->dir_fd, directory);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return fd < 0 ? fd : -errno;
    int r = 0;
    for (struct dirent *entry = readdir(dir); entry && r == 0; entry = readdir(dir))
        if (entry->d_name[0] != '.')
            r = each(storage, entry->d_name, data);
    return r;
}

/* An import whose lock is free belongs to nobody. */
static int collect_import(struct storage *storage, const char *name, void *data)
{
    char path[NAME_MAX + 16];
    (void)snprintf(path, sizeof(path), "imports/%s/tree", name);
    {
        _cleanup_close_ int tree = dir_open_at(storage->dir_fd, path);
        if (tree >= 0 && flock(tree, LOCK_EX | LOCK_NB) < 0)
            return 0;
    }
    return overlay_abort(storage, name, data);
}

static void stack_mark(struct buffer *marks, const struct layer_stack *stack)
{
    for (size_t i = 0; i < stack->n; i++)
        buffer_printf(marks, "|%s|", stack->items[i].id);
}

static int mark_template(struct storage *storage, const char *name, void *data)
{
    struct buffer *marks = data;
    char path[NAME_MAX + 32];
    (void)snprintf(path, sizeof(path), "templates/%s/generations", name);
    int fd = dir_open_at(storage->dir_fd, path);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    if (!dir)
        return 0;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        struct layer_stack stack;
        if (!name_is_generation(entry->d_name))
            continue;
        json_t *value = overlay_json_read(fd, entry->d_name);
        int r = layer_stack_from_json(json_object_get(value, "layers"), &stack);
        json_decref(value);
        if (r < 0)
            return r; /* damaged: rather collect nothing than a layer that is needed */
        stack_mark(marks, &stack);
    }
    return 0;
}

static int mark_clone(struct storage *storage, const char *name, void *data)
{
    _cleanup_overlay_clone_ struct overlay_clone clone = {0};
    if (overlay_clone_read(storage, name, &clone, NULL) == 0)
        stack_mark(data, &clone.stack);
    return 0;
}

static int collect_layer(struct storage *storage, const char *name, void *data)
{
    const struct buffer *marks = data;
    char mark[NAME_MAX + 4];
    char path[NAME_MAX + 16];
    (void)snprintf(mark, sizeof(mark), "|%s|", name);
    if (marks->data && strstr(marks->data, mark))
        return 0;
    (void)snprintf(path, sizeof(path), "layers/%s", name);
    return tree_remove(storage->dir_fd, path);
}

/* What was being made, or removed. */
static int collect_template(struct storage *storage, const char *name, void *data)
{
    return name_check_template(name, NULL) < 0 ? 0 : overlay_publish_settle(storage, name);
}

int overlay_collect(struct storage *storage, struct error *err)
{
    _cleanup_buffer_ struct buffer marks = {0};
    /* before the lock: it may take long, and nobody else knows the names */
    int trash = overlay_trash_empty(storage, err);
    _cleanup_close_ int lock = overlay_lock(storage, true, err);
    if (lock < 0)
        return lock;
    int r = overlay_commit_recover(storage, err);
    if (r < 0)
        return r;
    r = for_each_entry(storage, "imports", collect_import, err);
    if (r == 0)
        r = for_each_entry(storage, "templates", collect_template, NULL);
    if (r == 0)
        r = for_each_entry(storage, "templates", mark_template, &marks);
    if (r == 0)
        r = for_each_entry(storage, "clones", mark_clone, &marks);
    if (r == 0 && !marks.failed)
        r = for_each_entry(storage, "layers", collect_layer, &marks);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage overlay: collect: ") : trash;
}
