/* SPDX-License-Identifier: Apache-2.0 */
/* Clones of a store: clone.json, and how clones come and go. Runs in isolated as root; what a
 * sandbox left in a clone is hostile and is only moved and removed here. */
#include "base/text.h"
#include "storage/store.h"
#include "storage/store_image.h"
#include "storage/store_json.h"
#include "storage/store_limit.h"
#include "storage/store_root.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void store_clone_clear(struct store_clone *clone)
{
    freep(&clone->root_path);
}

int store_clone_open(struct storage *storage, const char *name, struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "clones/%s", name);
    int fd = openat(storage->dir_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "clone %s: there is none", name);
    return fd < 0 ? fail(err, ERROR_SYSTEM, errno, "clone %s: ", name) : fd;
}

static int clone_from_json(json_t *value, struct store_clone *clone)
{
    const char *template_name = NULL;
    const char *generation = NULL;
    const char *root = NULL;
    json_int_t first_id = 0;
    json_int_t device = 0;
    json_int_t file_system = 0;
    json_int_t inode = 0;
    int durable = 0;
    int shifted = 0;
    if (json_unpack(value, "{s:s, s:s, s:s, s:I, s:b, s?b, s?I, s?I, s?I}", "template",
                    &template_name, "generation", &generation, "root", &root, "first_id",
                    &first_id, "durable", &durable, "shifted", &shifted, "root_device", &device,
                    "root_file_system", &file_system, "root_inode", &inode) < 0 ||
        first_id <= 0 || first_id > UINT32_MAX)
        return -EINVAL;
    (void)snprintf(clone->template_name, sizeof(clone->template_name), "%s", template_name);
    (void)snprintf(clone->generation, sizeof(clone->generation), "%s", generation);
    clone->first_id = (uint32_t)first_id;
    clone->durable = durable;
    clone->is_shifted = shifted;
    clone->root = (struct root_identity){
        .device = (uint64_t)device,
        .file_system = (uint64_t)file_system,
        .inode = (uint64_t)inode,
    };
    if (*root && !(clone->root_path = strdup(root)))
        return -ENOMEM;
    return layer_stack_from_json(json_object_get(value, "layers"), &clone->stack);
}

int store_clone_read_file(int clone_fd, const char *file, struct store_clone *ret)
{
    json_t *value = store_json_read(clone_fd, file);
    int r = value ? clone_from_json(value, ret) : -EINVAL;
    json_decref(value);
    return r;
}

int store_clone_read(struct storage *storage, const char *name, struct store_clone *ret,
                     struct error *err)
{
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    int r = store_clone_read_file(fd, "clone.json", ret);
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: clone.json is damaged: ", name) : 0;
}

int store_clone_write(int clone_fd, const char *file, const struct store_clone *clone)
{
    const struct root_identity *root = &clone->root;
    json_t *value = json_pack(
        "{s:s, s:s, s:s, s:I, s:b, s:b, s:I, s:I, s:I, s:o}", "template", clone->template_name,
        "generation", clone->generation, "root", clone->root_path ? clone->root_path : "",
        "first_id", (json_int_t)clone->first_id, "durable", (int)clone->durable, "shifted",
        (int)clone->is_shifted, "root_device", (json_int_t)root->device, "root_file_system",
        (json_int_t)root->file_system, "root_inode", (json_int_t)root->inode, "layers",
        layer_stack_to_json(&clone->stack));
    if (!value)
        return -EINVAL;
    /* nobody reads it after a power cut: no fsync, which would cost more than all the rest */
    return clone->durable ? store_json_write(clone_fd, file, value)
                          : store_json_write_unsynced(clone_fd, file, value);
}

/* What the request says of the clone, with the generation resolved. */
static int clone_describe(struct storage *storage, const struct clone_request *request,
                          struct store_clone *clone, struct error *err)
{
    struct store_generation found = {0};
    clone->first_id = request->first_id;
    clone->durable = request->durable;
    clone->is_shifted = request->shares_ids;
    clone->stack.n = 1;
    (void)snprintf(clone->name, sizeof(clone->name), "%s", request->clone);
    if (!request->template_name && !request->root_path)
        return 0;
    if (!request->template_name) {
        clone->root_path = strdup(request->root_path);
        int r = clone->root_path ? root_identify(request->root_fd, &clone->root) : -ENOMEM;
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: ", clone->name) : 0;
    }
    int r = store_resolve(storage, request->template_name, request->generation, &found, err);
    if (r < 0)
        return r;
    clone->stack = found.stack;
    (void)snprintf(clone->template_name, sizeof(clone->template_name), "%s",
                   request->template_name);
    (void)snprintf(clone->generation, sizeof(clone->generation), "%s", found.generation.id);
    if (request->ret_generation)
        (void)snprintf(request->ret_generation, GENERATION_SIZE, "%s", found.generation.id);
    return 0;
}

/* From clone.json on no collector takes the clone's layers away. Before, the shared lock keeps
 * collectors out. */
static int clone_announce(struct storage *storage, const struct clone_request *request,
                          const char *path, struct store_clone *clone, struct error *err)
{
    /* a one-off root has no layers of ours */
    _cleanup_close_ int lock =
        request->template_name ? store_lock(storage, false, err) : -EBADF;
    if (request->template_name && lock < 0)
        return lock;
    int r = clone_describe(storage, request, clone, err);
    if (r < 0)
        return r;
    if (mkdirat(storage->dir_fd, path, 0700) < 0)
        return fail(err, ERROR_SYSTEM, errno, "clone %s: ", clone->name);
    int fd = store_clone_open(storage, clone->name, err);
    r = fd < 0 ? fd : store_clone_write(fd, "clone.json", clone);
    if (r == 0)
        return fd;
    fd_close(fd);
    (void)!store_remove(storage, path);
    return fail(err, ERROR_SYSTEM, r, "clone %s: write clone.json: ", clone->name);
}

int store_clone_make(struct storage *storage, const struct clone_request *request,
                     store_fill fill, struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    _cleanup_store_clone_ struct store_clone clone = {0};
    (void)snprintf(path, sizeof(path), "clones/%s", request->clone);
    _cleanup_close_ int fd = clone_announce(storage, request, path, &clone, err);
    if (fd < 0)
        return fd;
    int r = fill ? fill(storage, fd, &clone, request->root_fd, err) : 0;
    if (r < 0 && store_remove(storage, path) < 0)
        return r; /* the caller destroys it again */
    return r;
}

static int destroy_failed(int r, const char *name, struct error *err)
{
    if (r == -EAGAIN)
        return fail(err, ERROR_BUSY, r, "clone %s: destroy: not all is removed yet: ", name);
    if (r != -EBUSY)
        return fail(err, ERROR_SYSTEM, r, "clone %s: destroy: ", name);
    return fail(err, ERROR_BUSY, r,
                "clone %s: destroy: it is in use: something is mounted in it, or somebody goes "
                "on making files in it through an fd that the sandbox has passed on: ",
                name);
}

static int trash_remove(struct storage *storage, const char *name, struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "trash/%s", name);
    int r = store_remove(storage, path);
    return r < 0 ? destroy_failed(r, name, err) : 0;
}

int store_clone_destroy(struct storage *storage, const char *name, struct error *err)
{
    char clone[CLONE_NAME_SIZE + 16];
    (void)snprintf(clone, sizeof(clone), "clones/%s", name);
    char trash[CLONE_NAME_SIZE + 16];
    (void)snprintf(trash, sizeof(trash), "trash/%s", name);
    store_project_release(storage, name);
    store_image_release(storage, name);
    /* gone by its name at once, however long the rest takes. A full disk may have no room for
     * another name: then it goes where it is */
    int r = renameat(storage->dir_fd, clone, storage->dir_fd, trash) < 0 && errno != ENOENT
                ? store_remove(storage, clone)
                : 0;
    int of_trash = trash_remove(storage, name, r < 0 ? NULL : err);
    return r < 0 ? destroy_failed(r, name, err) : of_trash;
}

/* The names of clones that a directory of ours holds. */
static int list_names(struct storage *storage, const char *directory, struct clone_list *ret,
                      struct error *err)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(storage->dir_fd, directory));
    _cleanup_clones_ struct clone_list list = {0};
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: %s: ", storage->name, directory);
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        if (!name_is_clone(entry->d_name))
            continue;
        struct clone_info *items = realloc(list.items, (list.n + 1) * sizeof(*items));
        if (!items)
            return fail(err, ERROR_SYSTEM, ENOMEM, "storage %s: %s: ", storage->name,
                        directory);
        list.items = items;
        struct clone_info *info = &items[list.n++];
        *info = (struct clone_info){0};
        (void)snprintf(info->name, sizeof(info->name), "%.84s", entry->d_name);
    }
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "storage %s: %s: ", storage->name, directory);
    *ret = TAKE_STRUCT(list);
    return 0;
}

int store_clones(struct storage *storage, struct clone_list *ret, struct error *err)
{
    int r = list_names(storage, "clones", ret, err);
    for (size_t i = 0; r == 0 && i < ret->n; i++) {
        _cleanup_store_clone_ struct store_clone clone = {0};
        struct clone_info *info = &ret->items[i];
        /* one whose clone.json is missing was being made: it is listed all the same */
        (void)!store_clone_read(storage, info->name, &clone, NULL);
        (void)snprintf(info->template_name, sizeof(info->template_name), "%s",
                       clone.template_name);
        (void)snprintf(info->generation, sizeof(info->generation), "%s", clone.generation);
    }
    return r;
}

int store_trash(struct storage *storage, struct clone_list *ret, struct error *err)
{
    return list_names(storage, "trash", ret, err);
}

struct emptying {
    int result;
    struct error *err;
};

static int empty_one(struct storage *storage, const char *name, void *data)
{
    struct emptying *emptying = data;
    char path[NAME_MAX + 16];
    (void)snprintf(path, sizeof(path), "trash/%s", name);
    int r = store_remove(storage, path);
    if (r < 0 && r != -EBUSY && emptying->result == 0) /* what is busy goes another time */
        emptying->result =
            fail(emptying->err, ERROR_SYSTEM, r, "storage %s: %s: ", storage->name, path);
    return 0;
}

/* No lock is needed: nobody else knows the names. */
int store_trash_empty(struct storage *storage, struct error *err)
{
    struct emptying emptying = {0, err};
    int r = store_for_each(storage, "trash", empty_one, &emptying);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "storage %s: trash: ", storage->name)
                 : emptying.result;
}

int store_discard(struct storage *storage, const char *directory, const char *name)
{
    char path[NAME_MAX + 16];
    char trash[NAME_MAX + 16];
    (void)snprintf(path, sizeof(path), "%s/%s", directory, name);
    (void)snprintf(trash, sizeof(trash), "trash/%s", name);
    /* a full disk has no room for another name, a read-only subvolume stays where it is */
    return renameat(storage->dir_fd, path, storage->dir_fd, trash) < 0
               ? store_remove(storage, path)
               : 0;
}
