/* SPDX-License-Identifier: Apache-2.0 */
/* Generations that were received. An import is filled as any other: it is a whole tree, a copy
 * of its base that has been changed, or where generations are stacks of layers, the layer on
 * top of its base. Runs in isolated as root; the tree is hostile and only moved and mounted
 * here. */
#include "base/text.h"
#include "storage/arrival.h"
#include "storage/store_publish.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <string.h>

static bool stacks(const struct storage *storage)
{
    return storage->driver->store->mount_stack;
}

/* The tree of the base's only layer, by which a copy is made without the lock: who removes the
 * base meanwhile makes the publication fail. */
static int open_base(struct storage *storage, const char *template_name, const char *base,
                     struct error *err)
{
    char path[80];
    struct store_generation found = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, base, false, &found, err);
    if (lock < 0)
        return lock;
    (void)snprintf(path, sizeof(path), "layers/%s/tree", found.stack.items[0].id);
    int fd = dir_open_at(storage->dir_fd, path);
    return fd < 0
               ? fail(err, ERROR_SYSTEM, fd, "storage %s: generation %s: ", storage->name, base)
               : fd;
}

static int arrival_begin(struct storage *storage, const char *template_name, const char *base,
                         struct storage_import *ret, struct error *err)
{
    ret->is_layer = *base && stacks(storage);
    if (!*base || ret->is_layer)
        return store_import(storage, ret->key, sizeof(ret->key), &ret->tree_fd, err);
    _cleanup_close_ int from = open_base(storage, template_name, base, err);
    int r = from < 0 ? from : store_import_copy(storage, from, ret->key, sizeof(ret->key), err);
    if (r < 0)
        return r;
    int tree = dir_open_at(storage->import_fd, "tree");
    if (tree < 0) {
        (void)!store_abort(storage, ret->key, NULL);
        return fail(err, ERROR_SYSTEM, tree, "storage %s: make an import: ", storage->name);
    }
    ret->tree_fd = tree;
    return 0;
}

static int mount_tree(struct storage *storage, int tree_fd, int *ret_mount, struct error *err)
{
    _cleanup_close_ int mount = mount_open_tree(tree_fd, "", false);
    int r = mount < 0
                ? mount
                : mount_set_attributes(mount, false,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                       0, -EBADF);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "storage %s: show an import: ", storage->name);
    *ret_mount = TAKE_FD(mount);
    return 0;
}

static int arrival_mount(struct storage *storage, const char *template_name, const char *base,
                         const struct storage_import *import, int *ret_mount, struct error *err)
{
    struct store_generation found = {0};
    if (!import->is_layer)
        return mount_tree(storage, import->tree_fd, ret_mount, err);
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, base, false, &found, err);
    if (lock < 0)
        return lock;
    if (found.stack.n >= LAYERS_MAX)
        return fail(err, ERROR_NO_SPACE, E2BIG,
                    "template \"%s\": it has %d layers already, which is the limit; receive a "
                    "stream of all of it (send without --since) under another name",
                    template_name, LAYERS_MAX);
    found.stack.items[found.stack.n++] = (struct layer){0}; /* "": what the fd is of */
    return storage->driver->store->mount_stack(storage, &found.stack, import->tree_fd,
                                               ret_mount, err);
}

/* Under the exclusive lock: whether it still fits. */
static int check(struct storage *storage, const struct template_info *info,
                 const struct generation_arrival *arrival, struct layer_stack *ret_stack,
                 struct error *err)
{
    struct store_generation now = {0};
    struct template_info known;
    int r = store_find(storage, info->name, &known, err);
    if (r <= 0)
        return r < 0 ? r : arrival_check(info->name, arrival, NULL, false, err);
    r = store_generation_read(storage, info->name, NULL, &now.generation, &now.stack, err);
    if (r < 0)
        return r;
    r = store_is_published(storage, info->name, arrival->id);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "template \"%s\": ", info->name);
    r = arrival_check(info->name, arrival, now.generation.id, r > 0, err);
    if (r == 0)
        *ret_stack = now.stack;
    return r;
}

static int arrival_publish(struct storage *storage, const struct storage_import *import,
                           const struct template_info *info,
                           const struct generation_arrival *arrival, struct error *err)
{
    struct layer_stack stack = {0};
    const struct generation_about about = {arrival->pinned, arrival->created,
                                           arrival->identity};
    int r = store_import_complete(storage, import->key, err);
    if (r < 0)
        return r;
    _cleanup_close_ int lock = store_lock(storage, true, err);
    r = lock < 0 ? lock : check(storage, info, arrival, &stack, err);
    if (r < 0)
        return r;
    if (!import->is_layer)
        stack.n = 0;
    const struct store_publication publication = {import->key, info, arrival->id, &about};
    return store_publish_stack(storage, &publication, &stack, err);
}

const struct storage_arrivals store_arrivals = {
    .begin = arrival_begin,
    .mount = arrival_mount,
    .publish = arrival_publish,
};
