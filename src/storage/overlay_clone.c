/* SPDX-License-Identifier: Apache-2.0 */
/* Clones of the overlay driver: an empty upper directory each. Runs in isolated as root; what a
 * sandbox left in an upper is hostile and is only measured and removed here. */
#include "base/text.h"
#include "storage/overlay.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void overlay_clone_clear(struct overlay_clone *clone)
{
    freep(&clone->root_path);
}

int overlay_clone_open(struct storage *storage, const char *name, struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "clones/%s", name);
    int fd = openat(storage->dir_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd < 0 && errno == ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "clone %s: there is none", name);
    return fd < 0 ? fail(err, ERROR_SYSTEM, errno, "clone %s: ", name) : fd;
}

static int clone_from_json(json_t *value, struct overlay_clone *clone)
{
    const char *template_name = NULL;
    const char *generation = NULL;
    const char *root = NULL;
    json_int_t first_id = 0;
    json_int_t device = 0;
    json_int_t file_system = 0;
    json_int_t inode = 0;
    int durable = 0;
    if (json_unpack(value, "{s:s, s:s, s:s, s:I, s:b, s?I, s?I, s?I}", "template",
                    &template_name, "generation", &generation, "root", &root, "first_id",
                    &first_id, "durable", &durable, "root_device", &device, "root_file_system",
                    &file_system, "root_inode", &inode) < 0 ||
        first_id <= 0 || first_id > UINT32_MAX)
        return -EINVAL;
    (void)snprintf(clone->template_name, sizeof(clone->template_name), "%s", template_name);
    (void)snprintf(clone->generation, sizeof(clone->generation), "%s", generation);
    clone->first_id = (uint32_t)first_id;
    clone->durable = durable;
    clone->root = (struct root_identity){
        .device = (uint64_t)device,
        .file_system = (uint64_t)file_system,
        .inode = (uint64_t)inode,
    };
    if (*root && !(clone->root_path = strdup(root)))
        return -ENOMEM;
    return layer_stack_from_json(json_object_get(value, "layers"), &clone->stack);
}

int overlay_clone_read(struct storage *storage, const char *name, struct overlay_clone *ret,
                       struct error *err)
{
    _cleanup_close_ int fd = overlay_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    json_t *value = overlay_json_read(fd, "clone.json");
    int r = value ? clone_from_json(value, ret) : -EINVAL;
    json_decref(value);
    (void)snprintf(ret->name, sizeof(ret->name), "%s", name);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: clone.json is damaged: ", name) : 0;
}

int overlay_clone_write(int clone_fd, const struct overlay_clone *clone)
{
    const struct root_identity *root = &clone->root;
    json_t *value = json_pack(
        "{s:s, s:s, s:s, s:I, s:b, s:I, s:I, s:I, s:o}", "template", clone->template_name,
        "generation", clone->generation, "root", clone->root_path ? clone->root_path : "",
        "first_id", (json_int_t)clone->first_id, "durable", (int)clone->durable, "root_device",
        (json_int_t)root->device, "root_file_system", (json_int_t)root->file_system,
        "root_inode", (json_int_t)root->inode, "layers", layer_stack_to_json(&clone->stack));
    if (!value)
        return -EINVAL;
    if (clone->durable)
        return overlay_json_write(clone_fd, "clone.json", value);
    /* nobody reads it after a power cut: no fsync, which would cost more than all the rest */
    char *text = json_dumps(value, 0);
    json_decref(value);
    int r = text ? file_replace_at(clone_fd, "clone.json", text, strlen(text), false) : -ENOMEM;
    free(text);
    return r;
}

static int layer_root_stat(struct storage *storage, const struct overlay_clone *clone,
                           int root_fd, struct stat *ret)
{
    const struct layer *top = &clone->stack.items[clone->stack.n - 1];
    char path[80];
    if (!*top->id)
        return fstat(root_fd, ret) < 0 ? -errno : 0;
    (void)snprintf(path, sizeof(path), "layers/%s/tree", top->id);
    if (fstatat(storage->dir_fd, path, ret, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    ret->st_uid -= top->first_id;
    ret->st_gid -= top->first_id;
    return 0;
}

int overlay_upper_make(struct storage *storage, int clone_fd, const struct overlay_clone *clone,
                       int root_fd, struct error *err)
{
    struct stat root;
    int r = layer_root_stat(storage, clone, root_fd, &root);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: the template's root: ", clone->name);
    uid_t uid = clone->first_id + (root.st_uid & 0xFFFF);
    gid_t gid = clone->first_id + (root.st_gid & 0xFFFF);
    const struct timespec times[2] = {root.st_atim, root.st_mtim};
    if (mkdirat(clone_fd, "upper", 0700) < 0 || mkdirat(clone_fd, "work", 0700) < 0 ||
        fchownat(clone_fd, "upper", uid, gid, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(clone_fd, "work", clone->first_id, clone->first_id, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(clone_fd, "upper", root.st_mode & 07777, 0) < 0 ||
        utimensat(clone_fd, "upper", times, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "clone %s: make its directories: ", clone->name);
    return 0;
}

static int clone_fill(struct storage *storage, int clone_fd,
                      const struct clone_request *request, struct error *err)
{
    struct generation generation = {0};
    _cleanup_overlay_clone_ struct overlay_clone clone = {
        .first_id = request->first_id,
        .durable = request->durable,
        .stack = {.n = 1},
    };
    (void)snprintf(clone.name, sizeof(clone.name), "%s", request->clone);
    if (request->template_name) {
        int r = overlay_generation_read(storage, request->template_name, request->generation,
                                        &generation, &clone.stack, err);
        if (r < 0)
            return r;
        (void)snprintf(clone.template_name, sizeof(clone.template_name), "%s",
                       request->template_name);
        (void)snprintf(clone.generation, sizeof(clone.generation), "%s", generation.id);
        if (request->ret_generation)
            (void)snprintf(request->ret_generation, GENERATION_SIZE, "%s", generation.id);
    } else {
        clone.root_path = strdup(request->root_path);
        int r = clone.root_path ? root_identify(request->root_fd, &clone.root) : -ENOMEM;
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "clone %s: ", clone.name);
    }
    int r = overlay_upper_make(storage, clone_fd, &clone, request->root_fd, err);
    if (r < 0)
        return r;
    r = overlay_clone_write(clone_fd, &clone);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: write clone.json: ", clone.name) : 0;
}

int overlay_clone_make(struct storage *storage, const struct clone_request *request,
                       struct error *err)
{
    char path[CLONE_NAME_SIZE + 16];
    (void)snprintf(path, sizeof(path), "clones/%s", request->clone);
    /* shared: between reading the generation and naming it in clone.json, nothing is collected
     */
    _cleanup_close_ int lock = overlay_lock(storage, false, err);
    if (lock < 0)
        return lock;
    if (mkdirat(storage->dir_fd, path, 0700) < 0)
        return fail(err, ERROR_SYSTEM, errno, "clone %s: ", request->clone);
    _cleanup_close_ int fd = overlay_clone_open(storage, request->clone, err);
    int r = fd < 0 ? fd : clone_fill(storage, fd, request, err);
    if (r < 0 && tree_remove(storage->dir_fd, path) < 0)
        return r; /* the caller destroys it again */
    return r;
}

int overlay_clone_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                        int *ret_mount, struct error *err)
{
    _cleanup_overlay_clone_ struct overlay_clone clone = {0};
    int r = overlay_clone_read(storage, name, &clone, err);
    if (r < 0)
        return r;
    if (clone.durable) {
        /* a work directory that was mounted before is emptied by the kernel, except this mark
         */
        _cleanup_close_ int fd = overlay_clone_open(storage, name, err);
        r = fd < 0 ? fd : tree_remove(fd, "work");
        if (r == 0 && (mkdirat(fd, "work", 0700) < 0 ||
                       fchownat(fd, "work", clone.first_id, clone.first_id, 0) < 0))
            r = -errno;
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "clone %s: renew its work directory: ", name);
    }
    return overlay_mount_stack(storage, &clone, userns_fd, root_fd, ret_mount, err);
}

static int destroy_failed(int r, const char *name, struct error *err)
{
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
    int r = tree_remove(storage->dir_fd, path);
    return r < 0 ? destroy_failed(r, name, err) : 0;
}

int overlay_clone_destroy(struct storage *storage, const char *name, struct error *err)
{
    char clone[CLONE_NAME_SIZE + 16];
    (void)snprintf(clone, sizeof(clone), "clones/%s", name);
    char trash[CLONE_NAME_SIZE + 16];
    (void)snprintf(trash, sizeof(trash), "trash/%s", name);
    /* gone by its name at once, however long the rest takes. A full disk may have no room for
     * another name: then it goes where it is */
    int r = renameat(storage->dir_fd, clone, storage->dir_fd, trash) < 0 && errno != ENOENT
                ? tree_remove(storage->dir_fd, clone)
                : 0;
    int of_trash = trash_remove(storage, name, r < 0 ? NULL : err);
    return r < 0 ? destroy_failed(r, name, err) : of_trash;
}

/* The names of clones that a directory of ours holds. */
static int list_names(struct storage *storage, const char *directory, struct clone_list *ret,
                      struct error *err)
{
    int fd = dir_open_at(storage->dir_fd, directory);
    _cleanup_closedir_ DIR *dir = fd < 0 ? NULL : fdopendir(fd);
    _cleanup_clones_ struct clone_list list = {0};
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "storage %s: %s: ", storage->driver->name,
                    directory);
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir)) {
        if (!name_is_clone(entry->d_name))
            continue;
        struct clone_info *items = realloc(list.items, (list.n + 1) * sizeof(*items));
        if (!items)
            return fail(err, ERROR_SYSTEM, ENOMEM, "storage %s: %s: ", storage->driver->name,
                        directory);
        list.items = items;
        struct clone_info *info = &items[list.n++];
        *info = (struct clone_info){0};
        (void)snprintf(info->name, sizeof(info->name), "%.84s", entry->d_name);
    }
    *ret = list;
    list = (struct clone_list){0};
    return 0;
}

int overlay_clones(struct storage *storage, struct clone_list *ret, struct error *err)
{
    int r = list_names(storage, "clones", ret, err);
    for (size_t i = 0; r == 0 && i < ret->n; i++) {
        _cleanup_overlay_clone_ struct overlay_clone clone = {0};
        struct clone_info *info = &ret->items[i];
        /* one whose clone.json is missing was being made: it is listed all the same */
        (void)!overlay_clone_read(storage, info->name, &clone, NULL);
        (void)snprintf(info->template_name, sizeof(info->template_name), "%s",
                       clone.template_name);
        (void)snprintf(info->generation, sizeof(info->generation), "%s", clone.generation);
    }
    return r;
}

int overlay_trash(struct storage *storage, struct clone_list *ret, struct error *err)
{
    return list_names(storage, "trash", ret, err);
}

int overlay_trash_empty(struct storage *storage, struct error *err)
{
    _cleanup_clones_ struct clone_list list = {0};
    int r = overlay_trash(storage, &list, err);
    for (size_t i = 0; i < list.n; i++) {
        int one = trash_remove(storage, list.items[i].name, r < 0 ? NULL : err);
        if (r == 0 && one != -EBUSY) /* that goes another time */
            r = one;
    }
    return r;
}

int overlay_clone_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                        struct error *err)
{
    uint64_t entries = 0;
    _cleanup_close_ int fd = overlay_clone_open(storage, name, err);
    if (fd < 0)
        return fd;
    _cleanup_close_ int upper = dir_open_at(fd, "upper");
    *ret_bytes = 0;
    int r = upper < 0 ? upper : tree_usage(upper, ret_bytes, &entries);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "clone %s: measure: ", name) : 0;
}
