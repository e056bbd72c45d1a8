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

static void forget_parent(struct tar_target *target)
{
    target->parent_fd = fd_close(target->parent_fd);
    free(target->parent_path);
    target->parent_path = NULL;
}

static void forget_directories(struct tar_target *target)
{
    for (size_t i = 0; i < target->n_directories; i++) {
        free(target->directories[i].path);
        tar_metadata_clear(&target->directories[i].metadata);
    }
    target->n_directories = 0;
    key_map_clear(&target->by_inode);
    key_map_clear(&target->names);
}

void tar_target_clear(struct tar_target *target)
{
    forget_parent(target);
    forget_directories(target);
    freep(&target->directories);
}

int tar_target_open(const struct tar_target *target, const char *path)
{
    return target->layered ? beneath_open_inside(target->root_fd, path)
                           : beneath_open(target->root_fd, path);
}

/* The place in `directories` of the one of that inode number; one more where it has none. */
static struct tar_directory *directory_slot(struct tar_target *target, uint64_t inode)
{
    uint32_t index = 0;
    if (key_map_get(&target->by_inode, inode, &index))
        return &target->directories[index];
    if (target->n_directories == target->directories_capacity) {
        size_t capacity = target->directories_capacity ? target->directories_capacity * 2 : 256;
        struct tar_directory *directories =
            reallocarray(target->directories, capacity, sizeof(*directories));
        if (!directories)
            return NULL;
        target->directories = directories;
        target->directories_capacity = capacity;
    }
    index = (uint32_t)target->n_directories;
    if (key_map_put(&target->by_inode, inode, index) < 0)
        return NULL;
    target->n_directories++;
    target->directories[index] = (struct tar_directory){.inode = inode};
    return &target->directories[index];
}

static int note_directory(struct tar_target *target, const struct tar_directory *wanted,
                          struct tar_metadata *take_metadata, struct error *err)
{
    char *path = strdup(wanted->path);
    struct tar_directory *slot = path ? directory_slot(target, wanted->inode) : NULL;
    if (!slot) {
        free(path);
        tar_metadata_clear(take_metadata);
        return fail(err, ERROR_SYSTEM, ENOMEM, "note the directory: ");
    }
    free(slot->path);
    tar_metadata_clear(&slot->metadata);
    *slot = *wanted;
    slot->path = path;
    slot->metadata = *take_metadata;
    *take_metadata = (struct tar_metadata){0};
    return 0;
}

int tar_target_add_directory(struct tar_target *target, const char *path, uint64_t inode,
                             struct tar_metadata *take_metadata, struct error *err)
{
    const struct tar_directory wanted = {.path = (char *)path, .inode = inode};
    return note_directory(target, &wanted, take_metadata, err);
}

int tar_target_keep_times(struct tar_target *target, const char *path, int fd,
                          struct error *err)
{
    struct stat st;
    if (!target->has_lower)
        return 0;
    if (fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "look at its directory: ");
    if (key_map_get(&target->by_inode, st.st_ino, NULL))
        return 0;
    const struct tar_directory wanted = {
        .path = (char *)path, .inode = st.st_ino, .times_only = true};
    struct tar_metadata metadata = {.times = {st.st_atim, st.st_mtim}};
    return note_directory(target, &wanted, &metadata, err);
}

/* Makes the last directory of the path, which is `name` in at_fd, where it is missing. */
static int make_parent(struct tar_target *target, int at_fd, const char *path, const char *name,
                       struct error *err)
{
    struct stat st;
    struct tar_metadata metadata = {.mode = 0755};
    _cleanup_free_ char *above = strndup(path, name > path ? (size_t)(name - path) - 1 : 0);
    int r = above ? tar_target_keep_times(target, above, at_fd, err)
                  : fail(err, ERROR_SYSTEM, ENOMEM, "make its directory: ");
    if (r < 0)
        return r;
    if (mkdirat(at_fd, name, 0700) < 0)
        return errno == EEXIST ? 0 : beneath_write_failed(target->root_fd, errno, path, 0, err);
    if (fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return fail(err, ERROR_SYSTEM, errno, "look at its directory: ");
    return tar_target_add_directory(target, path, st.st_ino, &metadata, err);
}

/* Makes the missing directories on the way to path, one after the other. */
static int make_parents(struct tar_target *target, const char *path, struct error *err)
{
    _cleanup_close_ int at = tar_target_open(target, "");
    _cleanup_free_ char *prefix = strdup(path);
    if (!prefix)
        return fail(err, ERROR_SYSTEM, ENOMEM, "make its directory: ");
    for (char *p = prefix; at >= 0 && p;) {
        char *slash = strchr(p, '/');
        if (slash)
            *slash = '\0';
        int r = make_parent(target, at, prefix, p, err);
        if (r < 0)
            return r;
        fd_close(at);
        at = tar_target_open(target, prefix);
        if (slash)
            *slash = '/';
        p = slash ? slash + 1 : NULL;
    }
    return at < 0 ? at : 0;
}

static int open_directory(struct tar_target *target, const char *path, struct error *err)
{
    int fd = tar_target_open(target, path);
    if (fd == -ENOENT) {
        struct error inner = {0};
        int r = make_parents(target, path, &inner);
        if (r < 0 && inner.code != ERROR_NONE) {
            *err = inner;
            return r;
        }
        fd = r < 0 ? r : tar_target_open(target, path);
    }
    if (fd == -ELOOP || fd == -ENOTDIR)
        return fail(
            err, ERROR_DENIED, EPERM,
            "it passes through %s made by an earlier entry; such an archive is refused, "
            "repack it",
            fd == -ELOOP ? "a symlink" : "a file that is no directory");
    if (fd == -ENOENT && target->layered)
        return fail(err, ERROR_INVALID, ENOENT,
                    "it passes through a symlink of a layer below that leads nowhere");
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "open its directory: ") : fd;
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
    forget_parent(target);
    struct stat st;
    _cleanup_free_ char *parent = strndup(path, length);
    if (!parent)
        return fail(err, ERROR_SYSTEM, ENOMEM, "open its directory: ");
    _cleanup_close_ int fd = open_directory(target, parent, err);
    if (fd < 0)
        return fd;
    if (fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "open its directory: ");
    int r = tar_target_keep_times(target, parent, fd, err);
    if (r == 0)
        r = tar_layer_note_way(target, parent, err);
    if (r < 0)
        return r;
    target->parent_fd = *ret_fd = TAKE_FD(fd);
    target->parent_path = TAKE_PTR(parent);
    target->parent_inode = st.st_ino;
    return 0;
}

static int finish_directory(const struct tar_target *target,
                            const struct tar_directory *directory, struct error *err)
{
    struct stat st;
    _cleanup_close_ int at = tar_target_open(target, directory->path);
    /* a later entry has replaced it; EACCES: by a symlink in a sticky directory, which is not
     * followed for everybody (fs.protected_symlinks) */
    if (at == -ENOENT || at == -ENOTDIR || at == -ELOOP || at == -EACCES)
        return 0;
    int fd = at < 0 ? at : dir_open_at(at, ".");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "open: ");
    int r = 0;
    if (fstat(fd, &st) < 0) {
        r = fail(err, ERROR_SYSTEM, errno, "open: ");
    } else if (st.st_ino != directory->inode) {
        r = 0; /* replaced, too */
    } else if (directory->times_only) {
        r = futimens(fd, directory->metadata.times) < 0
                ? fail(err, ERROR_SYSTEM, errno, "set its times: ")
                : 0;
    } else {
        xattrs_remove_others(fd, &directory->metadata.xattrs);
        r = tar_metadata_apply(&directory->metadata, fd, -EBADF, "", false, err);
    }
    fd_close(fd);
    return r;
}

/* The root, where the archive says nothing of it. */
static int note_root(struct tar_target *target, struct error *err)
{
    struct stat st;
    struct tar_metadata metadata = {.mode = 0755};
    if (fstat(target->root_fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "look at the target: ");
    return target->has_lower || key_map_get(&target->by_inode, st.st_ino, NULL)
               ? 0
               : tar_target_add_directory(target, "", st.st_ino, &metadata, err);
}

int tar_target_finish(struct tar_target *target, struct error *err)
{
    int r = note_root(target, err);
    for (size_t i = 0; r == 0 && i < target->n_directories; i++) {
        const struct tar_directory *directory = &target->directories[i];
        r = finish_directory(target, directory, err);
        if (r < 0)
            return error_prefix(
                err, r, "directory \"%.150s\": ", *directory->path ? directory->path : ".");
    }
    return r;
}
