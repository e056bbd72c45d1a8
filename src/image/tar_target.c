/* SPDX-License-Identifier: Apache-2.0 */
/* The tree that is being unpacked: finding the parents of entries, and the metadata of
 * directories, which waits for the end. Runs in the confined child of image_extract; paths are
 * hostile and are resolved without symlinks. */
#include "base/text.h"
#include "image/beneath.h"
#include "image/tar.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

void tar_target_forget_parent(struct tar_target *target)
{
    target->parent_fd = fd_close(target->parent_fd);
    freep(&target->parent_path);
    target->parent_path = NULL;
}

void tar_target_clear(struct tar_target *target)
{
    tar_target_forget_parent(target);
    for (size_t i = 0; i < target->n_directories; i++) {
        free(target->directories[i].path);
        tar_metadata_clear(&target->directories[i].metadata);
    }
    freep(&target->directories);
}

int tar_target_add_directory(struct tar_target *target, const char *path,
                             struct tar_metadata *take_metadata, struct error *err)
{
    if (target->n_directories == target->directories_capacity) {
        size_t capacity = target->directories_capacity ? target->directories_capacity * 2 : 256;
        struct tar_directory *directories =
            reallocarray(target->directories, capacity, sizeof(*directories));
        if (!directories)
            goto no_memory;
        target->directories = directories;
        target->directories_capacity = capacity;
    }
    char *kept = strdup(path);
    if (!kept)
        goto no_memory;
    target->directories[target->n_directories++] =
        (struct tar_directory){.path = kept, .metadata = *take_metadata};
    *take_metadata = (struct tar_metadata){0};
    return 0;
no_memory:
    tar_metadata_clear(take_metadata);
    return fail(err, ERROR_SYSTEM, ENOMEM, "note the directory: ");
}

/* Makes the missing directories on the way to path, one after the other. */
static int make_parents(struct tar_target *target, const char *path, struct error *err)
{
    _cleanup_close_ int at = beneath_open(target->root_fd, "");
    _cleanup_free_ char *prefix = strdup(path);
    if (!prefix)
        return fail(err, ERROR_SYSTEM, ENOMEM, "make its directory: ");
    for (char *p = prefix; at >= 0 && p;) {
        char *slash = strchr(p, '/');
        if (slash)
            *slash = '\0';
        if (mkdirat(at, p, 0700) == 0) {
            struct tar_metadata metadata = {.mode = 0755};
            int r = tar_target_add_directory(target, prefix, &metadata, err);
            if (r < 0)
                return r;
        } else if (errno != EEXIST) {
            return beneath_write_failed(target->root_fd, errno, prefix, 0, err);
        }
        int next = beneath_open(at, p);
        fd_close(at);
        at = next;
        if (slash)
            *slash = '/';
        p = slash ? slash + 1 : NULL;
    }
    return at < 0 ? at : 0;
}

static int open_directory(struct tar_target *target, const char *path, struct error *err)
{
    int fd = beneath_open(target->root_fd, path);
    if (fd == -ENOENT) {
        struct error inner = {0};
        int r = make_parents(target, path, &inner);
        if (r < 0 && inner.code != ERROR_NONE) {
            *err = inner;
            return r;
        }
        fd = r < 0 ? r : beneath_open(target->root_fd, path);
    }
    if (fd == -ELOOP || fd == -ENOTDIR)
        return fail(
            err, ERROR_DENIED, EPERM,
            "it passes through %s made by an earlier entry; such an archive is refused, "
            "repack it",
            fd == -ELOOP ? "a symlink" : "a file that is no directory");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "open its directory: ");
    return fd;
}

int tar_target_parent(struct tar_target *target, const char *path, const char **ret_name,
                      int *ret_fd, struct error *err)
{
    const char *slash = strrchr(path, '/');
    size_t length = slash ? (size_t)(slash - path) : 0;
    *ret_name = slash ? slash + 1 : path;
    if (target->parent_path && strlen(target->parent_path) == length &&
        memcmp(target->parent_path, path, length) == 0) {
        *ret_fd = target->parent_fd;
        return 0;
    }
    tar_target_forget_parent(target);
    _cleanup_free_ char *parent = strndup(path, length);
    if (!parent)
        return fail(err, ERROR_SYSTEM, ENOMEM, "open its directory: ");
    int fd = open_directory(target, parent, err);
    if (fd < 0)
        return fd;
    target->parent_fd = fd;
    target->parent_path = TAKE_PTR(parent);
    *ret_fd = fd;
    return 0;
}

static int finish_directory(const struct tar_target *target,
                            const struct tar_directory *directory, struct error *err)
{
    _cleanup_close_ int at = beneath_open(target->root_fd, directory->path);
    if (at == -ENOENT || at == -ENOTDIR || at == -ELOOP)
        return 0; /* a later entry has replaced it */
    int fd = at < 0 ? at : dir_open_at(at, ".");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "open: ");
    xattrs_remove_others(fd, &directory->metadata.xattrs);
    int r = tar_metadata_apply(&directory->metadata, fd, -EBADF, "", false, err);
    fd_close(fd);
    return r;
}

int tar_target_finish(struct tar_target *target, struct error *err)
{
    bool has_root = false;
    for (size_t i = 0; i < target->n_directories; i++)
        has_root = has_root || streq(target->directories[i].path, "");
    if (!has_root) {
        struct tar_metadata metadata = {.mode = 0755};
        int r = tar_target_add_directory(target, "", &metadata, err);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < target->n_directories; i++) {
        const struct tar_directory *directory = &target->directories[i];
        int r = finish_directory(target, directory, err);
        if (r < 0)
            return error_prefix(
                err, r, "directory \"%.150s\": ", *directory->path ? directory->path : ".");
    }
    return 0;
}
