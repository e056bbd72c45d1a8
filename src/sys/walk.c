/* SPDX-License-Identifier: Apache-2.0 */
/* The walk. Runs in isolate-image and isolated as root over hostile trees, which may change
 * meanwhile: every name is looked up in a directory that is held open, and ".." is believed
 * only when it leads to the directory that was seen before. */
#include "sys/walk.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/sysmacros.h>

#define WALK_STATX (STATX_BASIC_STATS | STATX_MNT_ID)

void dir_stack_clear(struct dir_stack *stack)
{
    for (size_t i = 0; i < stack->n; i++)
        fd_close(stack->levels[i].fd);
    freep(&stack->levels);
    *stack = (struct dir_stack){0};
}

int dir_stack_push(struct dir_stack *stack, int take_fd)
{
    _cleanup_close_ int fd = take_fd;
    struct stat st;
    if (fstat(fd, &st) < 0)
        return -errno;
    if (stack->n == stack->capacity) {
        size_t capacity = stack->capacity ? stack->capacity * 2 : 32;
        struct dir_level *levels = reallocarray(stack->levels, capacity, sizeof(*levels));
        if (!levels)
            return -ENOMEM;
        stack->levels = levels;
        stack->capacity = capacity;
    }
    if (stack->n >= WALK_OPEN_MAX) {
        struct dir_level *far = &stack->levels[stack->n - WALK_OPEN_MAX];
        far->fd = fd_close(far->fd);
    }
    stack->levels[stack->n++] =
        (struct dir_level){.fd = TAKE_FD(fd), .device = st.st_dev, .inode = st.st_ino};
    return 0;
}

int dir_stack_pop(struct dir_stack *stack)
{
    _cleanup_close_ int left = stack->levels[--stack->n].fd;
    if (stack->n == 0)
        return 0;
    struct dir_level *above = &stack->levels[stack->n - 1];
    if (above->fd >= 0)
        return 0;
    _cleanup_close_ int fd =
        openat(left, "..", O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return -errno;
    if (st.st_dev != above->device || st.st_ino != above->inode)
        return -ESTALE;
    above->fd = TAKE_FD(fd);
    return 0;
}

int dir_stack_top(const struct dir_stack *stack)
{
    return stack->n > 0 ? stack->levels[stack->n - 1].fd : -EBADF;
}

/* The names of one directory and how far the walk has come in them. */
struct walk_level {
    struct buffer names; /* each with its NUL */
    const char **sorted;
    size_t n;
    size_t next;
    size_t path_length; /* of this directory's own path */
    struct walk_entry entry;
};

struct walk {
    const struct walk_visitor *visitor;
    struct dir_stack directories;
    struct walk_level *levels;
    size_t n;
    size_t capacity;
    struct buffer path;
    uint64_t mount_id;
};

static void walk_level_clear(struct walk_level *level)
{
    buffer_clear(&level->names);
    freep(&level->sorted);
}

static void walk_clear(struct walk *walk)
{
    int saved = errno;
    for (size_t i = 0; i < walk->n; i++)
        walk_level_clear(&walk->levels[i]);
    free(walk->levels);
    buffer_clear(&walk->path);
    dir_stack_clear(&walk->directories);
    errno = saved;
}

static int compare(const void *a, const void *b)
{
    return strcmp(*(const char *const *)a, *(const char *const *)b);
}

static int read_names(int directory_fd, struct walk_level *level)
{
    /* a descriptor of its own: closedir closes it, and its position is its own */
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(directory_fd, "."));
    if (!dir)
        return -errno;
    for (;;) {
        errno = 0;
        struct dirent *entry = readdir(dir);
        if (!entry && errno != 0)
            return -errno;
        if (!entry)
            break;
        if (streq(entry->d_name, ".") || streq(entry->d_name, ".."))
            continue;
        buffer_append(&level->names, entry->d_name, strlen(entry->d_name) + 1);
        level->n++;
    }
    level->sorted = calloc(level->n + 1, sizeof(*level->sorted));
    if (level->names.failed || !level->sorted)
        return -ENOMEM;
    const char *p = level->names.data;
    for (size_t i = 0; i < level->n; i++, p += strlen(p) + 1)
        level->sorted[i] = p;
    if (level->n > 1)
        qsort(level->sorted, level->n, sizeof(*level->sorted), compare);
    return 0;
}

static void entry_fill(struct walk_entry *entry, const struct statx *stx, uint64_t mount_id)
{
    entry->is_mount_point = stx->stx_mnt_id != mount_id;
    entry->mode = stx->stx_mode;
    entry->uid = stx->stx_uid;
    entry->gid = stx->stx_gid;
    entry->rdev = makedev(stx->stx_rdev_major, stx->stx_rdev_minor);
    entry->device = makedev(stx->stx_dev_major, stx->stx_dev_minor);
    entry->inode = stx->stx_ino;
    entry->links = stx->stx_nlink;
    entry->size = stx->stx_size;
    entry->accessed = (struct timespec){stx->stx_atime.tv_sec, stx->stx_atime.tv_nsec};
    entry->modified = (struct timespec){stx->stx_mtime.tv_sec, stx->stx_mtime.tv_nsec};
}

static int walk_failed(const struct walk *walk, int errnum, struct error *err)
{
    const char *path = walk->path.length > 0 ? walk->path.data : ".";
    if (errnum == -ESTALE)
        return fail(
            err, ERROR_BUSY, EBUSY,
            "read \"%.300s\": a directory was moved meanwhile; stop what changes the tree",
            path);
    return fail(err, ERROR_SYSTEM, errnum, "read \"%.300s\": ", path);
}

/* Makes the directory behind take_fd the present one. */
static int walk_enter(struct walk *walk, const struct walk_entry *entry, int take_fd,
                      struct error *err)
{
    int r = dir_stack_push(&walk->directories, take_fd);
    if (r < 0)
        return walk_failed(walk, r, err);
    int fd = dir_stack_top(&walk->directories);
    if (walk->n == walk->capacity) {
        size_t capacity = walk->capacity ? walk->capacity * 2 : 32;
        struct walk_level *levels = reallocarray(walk->levels, capacity, sizeof(*levels));
        if (!levels)
            return walk_failed(walk, -ENOMEM, err);
        walk->levels = levels;
        walk->capacity = capacity;
    }
    struct walk_level *level = &walk->levels[walk->n++];
    *level = (struct walk_level){.entry = *entry, .path_length = walk->path.length};
    level->sorted = calloc(1, sizeof(*level->sorted));
    if (!level->sorted)
        return walk_failed(walk, -ENOMEM, err);
    r = walk->visitor->enter(walk->visitor->data, entry, fd, err);
    if (r < 0 || entry->is_mount_point)
        return r;
    freep(&level->sorted);
    level->sorted = NULL;
    r = read_names(fd, level);
    return r < 0 ? walk_failed(walk, r, err) : 0;
}

static int walk_leave(struct walk *walk, struct error *err)
{
    struct walk_level *level = &walk->levels[walk->n - 1];
    walk->path.length = level->path_length;
    if (walk->path.data)
        walk->path.data[walk->path.length] = '\0';
    /* the buffers may have moved since the directory was entered */
    level->entry.path = walk->path.data ? walk->path.data : "";
    const char *slash = strrchr(level->entry.path, '/');
    level->entry.name = slash ? slash + 1 : level->entry.path;
    level->entry.parent_fd = -EBADF;
    int r = 0;
    if (walk->visitor->leave)
        r = walk->visitor->leave(walk->visitor->data, &level->entry,
                                 dir_stack_top(&walk->directories), err);
    if (r < 0)
        return r;
    walk_level_clear(level);
    walk->n--;
    r = dir_stack_pop(&walk->directories);
    return r < 0 ? walk_failed(walk, r, err) : 0;
}

static int walk_next(struct walk *walk, struct error *err)
{
    struct walk_level *level = &walk->levels[walk->n - 1];
    const char *name = level->sorted[level->next++];
    int parent = dir_stack_top(&walk->directories);
    walk->path.length = level->path_length;
    if (level->path_length > 0)
        buffer_append_char(&walk->path, '/');
    size_t name_at = walk->path.length;
    buffer_append_text(&walk->path, name);
    if (walk->path.failed)
        return walk_failed(walk, -ENOMEM, err);
    struct statx stx;
    if (statx(parent, name, AT_SYMLINK_NOFOLLOW | AT_NO_AUTOMOUNT, WALK_STATX, &stx) < 0)
        return errno == ENOENT ? 0 : walk_failed(walk, -errno, err);
    struct walk_entry entry = {
        .name = walk->path.data + name_at, .path = walk->path.data, .parent_fd = parent};
    entry_fill(&entry, &stx, walk->mount_id);
    if (!S_ISDIR(entry.mode))
        return walk->visitor->entry(walk->visitor->data, &entry, err);
    int fd = dir_open_at(parent, name);
    if (fd < 0)
        return fd == -ENOENT ? 0 : walk_failed(walk, fd, err);
    /* what was opened counts, not what was seen under the name before */
    if (statx(fd, "", AT_EMPTY_PATH, WALK_STATX, &stx) < 0) {
        fd_close(fd);
        return walk_failed(walk, -errno, err);
    }
    entry_fill(&entry, &stx, walk->mount_id);
    return walk_enter(walk, &entry, fd, err);
}

int walk_tree(int root_fd, const struct walk_visitor *visitor, struct error *err)
{
    _cleanup_(walk_clear) struct walk walk = {.visitor = visitor};
    int fd = dir_open_at(root_fd, ".");
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "open the directory: ");
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH, WALK_STATX, &stx) < 0) {
        fd_close(fd);
        return fail(err, ERROR_SYSTEM, errno, "read the directory: ");
    }
    walk.mount_id = stx.stx_mnt_id;
    struct walk_entry root = {.name = "", .path = "", .parent_fd = -EBADF};
    entry_fill(&root, &stx, walk.mount_id);
    int r = walk_enter(&walk, &root, fd, err);
    while (r == 0 && walk.n > 0) {
        const struct walk_level *level = &walk.levels[walk.n - 1];
        r = level->next < level->n ? walk_next(&walk, err) : walk_leave(&walk, err);
    }
    return r;
}
