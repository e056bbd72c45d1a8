/* SPDX-License-Identifier: Apache-2.0 */
/* Images as layers of a store (storage/layers.h): each is the upper directory of an overlay of
 * those below, into which the layer was unpacked, so that the kernel has made the whiteouts and
 * opaque directories, and copied what only changes. Runs in isolated as root; what is in the
 * trees is hostile and is only mounted and moved here, but for their root directories.
 *
 *   imports/KEY/layers/ID/{upper,work}  being filled; upper becomes
 *   imports/KEY/layers/ID/tree          when it is complete, and with layer.json layers/ID
 *   imports/KEY/uses                    marks (store.h) of the layers that were there before
 */
#include "base/text.h"
#include "storage/layers.h"
#include "storage/overlay.h"
#include "storage/store_json.h"
#include "storage/store_publish.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/overlayfs.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct image_layer {
    char chain[STORAGE_CHAIN_SIZE];
    char blob[STORAGE_CHAIN_SIZE];
    bool is_new; /* still below the import */
};

struct layering {
    struct storage *storage;
    char key[64];
    int dir_fd;     /* imports/KEY/layers */
    json_t *chains; /* chain → {"id","blob"} of the store, as it was at the beginning */
    struct layer_stack stack;
    struct image_layer layers[LAYERS_MAX];
    bool is_filling; /* the one behind the last */
};

static int layering_failed(const struct layering *layering, int errnum, struct error *err)
{
    return fail(err, ERROR_SYSTEM, errnum,
                "storage %s: a layer of the image: ", layering->storage->name);
}

static int note_chain(struct storage *storage, const char *id, void *data)
{
    json_t *chains = data;
    char path[80];
    if (strlen(id) >= LAYER_ID_SIZE)
        return 0;
    (void)snprintf(path, sizeof(path), "layers/%s", id);
    _cleanup_close_ int dir = dir_open_at(storage->dir_fd, path);
    json_t *value = dir < 0 ? NULL : store_json_read(dir, "layer.json");
    const char *chain = json_string_value(json_object_get(value, "chain"));
    bool plain = json_integer_value(json_object_get(value, "first_id")) == 0;
    int r = 0;
    if (chain && plain)
        r = json_object_set_new(
            chains, chain,
            json_pack("{s:s, s:O*}", "id", id, "blob", json_object_get(value, "blob")));
    json_decref(value);
    return r < 0 ? -ENOMEM : 0;
}

/* Under a lock. */
static int load_chains(struct layering *layering)
{
    json_decref(layering->chains);
    layering->chains = json_object();
    return layering->chains
               ? store_for_each(layering->storage, "layers", note_chain, layering->chains)
               : -ENOMEM;
}

/* NULL: there is none. */
static const json_t *find_chain(const struct layering *layering, const char *chain)
{
    return *chain ? json_object_get(layering->chains, chain) : NULL;
}

static const char *id_of(const json_t *found)
{
    return json_string_value(json_object_get(found, "id"));
}

static void layering_close(struct layering *layering)
{
    char path[96];
    if (!layering)
        return;
    (void)snprintf(path, sizeof(path), "imports/%s/layers", layering->key);
    (void)!tree_remove(layering->storage->dir_fd, path);
    (void)snprintf(path, sizeof(path), "imports/%s/uses", layering->key);
    (void)!unlinkat(layering->storage->dir_fd, path, 0);
    fd_close(layering->dir_fd);
    json_decref(layering->chains);
    free(layering);
}

static int layering_load(struct layering *layering, struct error *err)
{
    char path[96];
    struct storage *storage = layering->storage;
    (void)snprintf(path, sizeof(path), "imports/%s/layers", layering->key);
    layering->dir_fd = dir_make_at(storage->dir_fd, path, 0700);
    if (layering->dir_fd < 0)
        return layering_failed(layering, layering->dir_fd, err);
    _cleanup_close_ int lock = store_lock(storage, false, err);
    if (lock < 0)
        return lock;
    int r = load_chains(layering);
    return r < 0 ? layering_failed(layering, r, err) : 0;
}

static int layering_open(struct storage *storage, const char *key, struct layering **ret,
                         struct error *err)
{
    struct layering *layering = calloc(1, sizeof(*layering));
    if (!layering)
        return fail(err, ERROR_SYSTEM, ENOMEM, "storage %s: ", storage->name);
    layering->storage = storage;
    (void)snprintf(layering->key, sizeof(layering->key), "%s", key);
    int r = layering_load(layering, err);
    if (r < 0) {
        layering_close(layering);
        return r;
    }
    *ret = layering;
    return 0;
}

/* ---- a layer that is there ---- */

static int write_uses(const struct layering *layering)
{
    _cleanup_buffer_ struct buffer marks = {0};
    _cleanup_close_ int import = openat(layering->dir_fd, "..", O_PATH | O_CLOEXEC);
    for (size_t i = 0; i < layering->stack.n; i++)
        if (!layering->layers[i].is_new)
            store_layer_mark(&marks, &layering->stack.items[i]);
    /* it need not survive a crash: the import does not */
    return import < 0     ? -errno
           : marks.failed ? -ENOMEM
                          : file_replace_at(import, "uses", marks.data, marks.length, false);
}

/* 1 where the store still has it: from now on no collector takes it away. */
static int use_layer(struct layering *layering, const char *id, struct error *err)
{
    char path[80];
    _cleanup_close_ int lock = store_lock(layering->storage, false, err);
    if (lock < 0)
        return lock;
    (void)snprintf(path, sizeof(path), "layers/%s/layer.json", id);
    if (faccessat(layering->storage->dir_fd, path, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : layering_failed(layering, errno, err);
    size_t n = layering->stack.n++;
    layering->layers[n] = (struct image_layer){.is_new = false};
    layering->stack.items[n] = (struct layer){.first_id = 0};
    (void)snprintf(layering->stack.items[n].id, LAYER_ID_SIZE, "%s", id);
    int r = write_uses(layering);
    if (r < 0) {
        layering->stack.n--;
        return layering_failed(layering, r, err);
    }
    return 1;
}

/* ---- a new one ---- */

static int open_tree(const struct layering *layering, size_t i)
{
    char path[80];
    bool is_new = layering->layers[i].is_new;
    (void)snprintf(path, sizeof(path), "%s%s/tree", is_new ? "" : "layers/",
                   layering->stack.items[i].id);
    return mount_open_tree(is_new ? layering->dir_fd : layering->storage->dir_fd, path, false);
}

static int copy_root(int from_fd, int upper_fd)
{
    _cleanup_overlay_root_ struct overlay_root root = {0};
    int r = overlay_root_read(from_fd, &root);
    return r < 0 ? r : overlay_root_apply(&root, upper_fd);
}

#define ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOEXEC)

static int mount_bottom(int layer_fd)
{
    _cleanup_close_ int mount = mount_open_tree(layer_fd, "upper", false);
    int r = mount < 0 ? mount : mount_set_attributes(mount, false, ATTRIBUTES, 0, -EBADF);
    return r < 0 ? r : TAKE_FD(mount);
}

static int mount_above(const struct layering *layering, int layer_fd)
{
    int fds[LAYERS_MAX] = {-EBADF};
    size_t n = 0;
    int r = 0;
    while (n < layering->stack.n && (r = open_tree(layering, n)) >= 0)
        fds[n++] = r;
    _cleanup_close_ int upper = r < 0 ? r : dir_open_at(layer_fd, "upper");
    if (upper >= 0)
        r = copy_root(fds[n - 1], upper);
    else if (r >= 0)
        r = upper;
    /* what is in it is synced when it is a layer */
    const struct overlayfs overlay = {
        .lowers = fds, .n = n, .parent_fd = layer_fd, .no_sync = true};
    if (r == 0)
        r = overlayfs_mount(&overlay, ATTRIBUTES);
    for (size_t i = 0; i < n; i++)
        fd_close(fds[i]);
    return r;
}

static int make_layer(struct layering *layering, const struct layer_content *content,
                      int *ret_mount)
{
    size_t n = layering->stack.n;
    struct layer *layer = &layering->stack.items[n];
    *layer = (struct layer){.first_id = 0};
    store_layer_key(layer->id, sizeof(layer->id));
    layering->layers[n] = (struct image_layer){.is_new = true};
    (void)snprintf(layering->layers[n].chain, STORAGE_CHAIN_SIZE, "%s", content->chain);
    (void)snprintf(layering->layers[n].blob, STORAGE_CHAIN_SIZE, "%s", content->blob);
    _cleanup_close_ int dir = dir_make_at(layering->dir_fd, layer->id, 0700);
    if (dir < 0)
        return dir;
    if (mkdirat(dir, "upper", 0755) < 0 || mkdirat(dir, "work", 0700) < 0)
        return -errno;
    int r = n == 0 ? mount_bottom(dir) : mount_above(layering, dir);
    if (r < 0)
        return r;
    *ret_mount = r;
    layering->is_filling = true;
    return 0;
}

static int layering_begin(struct layering *layering, const struct layer_content *content,
                          int *ret_mount, struct error *err)
{
    const json_t *found = find_chain(layering, content->chain);
    const char *blob = json_string_value(json_object_get(found, "blob"));
    if (layering->is_filling || strlen(content->chain) >= STORAGE_CHAIN_SIZE ||
        strlen(content->blob) >= STORAGE_CHAIN_SIZE)
        return layering_failed(layering, EINVAL, err);
    /* one more than of the image: where its commands start */
    if (layering->stack.n > STORAGE_IMAGE_LAYERS_MAX)
        return layering_failed(layering, E2BIG, err);
    int r = found ? use_layer(layering, id_of(found), err) : 0;
    if (r != 0)
        return r < 0 ? r : blob && streq(blob, content->blob) ? LAYER_FOUND_BLOB : LAYER_FOUND;
    r = make_layer(layering, content, ret_mount);
    return r < 0 ? layering_failed(layering, r, err) : LAYER_NEW;
}

static int is_empty(int dir_fd, const char *name)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, name));
    struct dirent *entry = NULL;
    int r = dir ? dir_next(dir, &entry) : -errno;
    return r < 0 ? r : r == 0;
}

static int end_layer(struct layering *layering)
{
    size_t n = layering->stack.n;
    const char *id = layering->stack.items[n].id;
    _cleanup_close_ int dir = dir_open_at(layering->dir_fd, id);
    int r = dir < 0 ? dir : tree_remove(dir, "work");
    bool may_be_left_out = !*layering->layers[n].chain && n > 0;
    if (r == 0 && may_be_left_out && (r = is_empty(dir, "upper")) > 0)
        return tree_remove(layering->dir_fd, id);
    if (r == 0 && renameat(dir, "upper", dir, "tree") < 0)
        r = -errno;
    if (r == 0)
        layering->stack.n++;
    return r;
}

static int layering_end(struct layering *layering, struct error *err)
{
    if (!layering->is_filling)
        return layering_failed(layering, EINVAL, err);
    layering->is_filling = false;
    int r = end_layer(layering);
    return r < 0 ? layering_failed(layering, r, err) : 0;
}

/* ---- all of them become a generation ---- */

static int describe_layer(const struct layering *layering, size_t i, struct error *err)
{
    const struct image_layer *layer = &layering->layers[i];
    const struct layer_content content = {layer->chain, layer->blob};
    _cleanup_close_ int dir = dir_open_at(layering->dir_fd, layering->stack.items[i].id);
    return dir < 0 ? layering_failed(layering, dir, err)
                   : store_layer_describe(layering->storage, dir, 0, &content, err);
}

/* All new layers are on disk, whatever is named after that. */
static int complete_layers(const struct layering *layering, struct error *err)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < layering->stack.n; i++)
        if (layering->layers[i].is_new)
            r = describe_layer(layering, i, err);
    if (r < 0)
        return r;
    _cleanup_close_ int dir = dir_open_at(layering->dir_fd, ".");
    return dir < 0 || syncfs(dir) < 0 ? layering_failed(layering, dir < 0 ? dir : -errno, err)
                                      : 0;
}

/* Into the store, or out of it again. */
static int move_layer(const struct layering *layering, size_t i, bool in)
{
    char path[80];
    const char *id = layering->stack.items[i].id;
    (void)snprintf(path, sizeof(path), "layers/%s", id);
    return (in ? renameat(layering->dir_fd, id, layering->storage->dir_fd, path)
               : renameat(layering->storage->dir_fd, path, layering->dir_fd, id)) < 0
               ? -errno
               : 0;
}

/* Who has imported the same meanwhile was first: then ours is one too many. */
static int adopt_layers(struct layering *layering, bool moved[static LAYERS_MAX])
{
    int r = load_chains(layering);
    for (size_t i = 0; r == 0 && i < layering->stack.n; i++) {
        const json_t *found = find_chain(layering, layering->layers[i].chain);
        if (!layering->layers[i].is_new)
            continue;
        if (found) {
            layering->layers[i].is_new = false;
            (void)snprintf(layering->stack.items[i].id, LAYER_ID_SIZE, "%s", id_of(found));
            continue;
        }
        r = move_layer(layering, i, true);
        moved[i] = r == 0;
    }
    return r;
}

/* Under the exclusive lock. */
static int publish_locked(struct layering *layering, const struct template_info *info,
                          char ret_generation[static GENERATION_SIZE], struct error *err)
{
    bool moved[LAYERS_MAX] = {false};
    struct storage *storage = layering->storage;
    int r = adopt_layers(layering, moved);
    if (r < 0)
        r = layering_failed(layering, r, err);
    if (r == 0)
        r = store_generation_new(storage, info->name, ret_generation, err);
    if (r == 0)
        r = store_generation_publish(storage, info, ret_generation, &layering->stack, NULL,
                                     err);
    if (r == 0 || store_is_published(storage, info->name, ret_generation) == 1)
        return r;
    for (size_t i = 0; i < layering->stack.n; i++)
        if (moved[i])
            (void)!move_layer(layering, i, false);
    return r;
}

static int layering_publish(struct layering *layering, const struct template_info *info,
                            char ret_generation[static GENERATION_SIZE], struct error *err)
{
    *ret_generation = '\0';
    if (layering->stack.n == 0 || layering->is_filling)
        return layering_failed(layering, EINVAL, err);
    int r = complete_layers(layering, err);
    if (r < 0)
        return r;
    {
        _cleanup_close_ int lock = store_lock(layering->storage, true, err);
        r = lock < 0 ? lock : publish_locked(layering, info, ret_generation, err);
    }
    if (r == 0) /* what is left of it; where that fails, the next collector does it */
        (void)!store_abort(layering->storage, layering->key, NULL);
    return r;
}

const struct storage_layers overlay_layers = {
    .open = layering_open,
    .begin = layering_begin,
    .end = layering_end,
    .publish = layering_publish,
    .close = layering_close,
};
