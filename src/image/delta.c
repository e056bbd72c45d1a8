/* SPDX-License-Identifier: Apache-2.0 */
/* From one tree to another. Runs in isolate-image as root; both are hostile as to names, types
 * and depth. The tree is walked twice, with the same directory of the base held open beside
 * it: what is gone has to be said before anything takes its place. */
#include "image/delta.h"

#include "base/text.h"
#include "image/links.h"
#include "image/path_set.h"
#include "image/progress.h"
#include "image/same.h"
#include "image/tar_write.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

struct delta {
    struct stream_writer *stream;
    struct progress *progress;
    int base_fd;
    struct dir_stack base;       /* the base's directories, level with those of the walk … */
    size_t missing;              /* … but for so many, which it does not have */
    struct path_set touched;     /* directories in which something is gone */
    struct path_set linked;      /* files with several links */
    struct path_set base_linked; /* and those of the base */
    struct links links;
    struct tar_writer tar;
    struct same_blocks *blocks;
    bool *written; /* of each directory of the walk: it, or something in it */
    size_t depth;
    size_t capacity;
};

static void delta_clear(struct delta *delta)
{
    dir_stack_clear(&delta->base);
    path_set_clear(&delta->touched);
    path_set_clear(&delta->linked);
    path_set_clear(&delta->base_linked);
    links_clear(&delta->links);
    tar_writer_clear(&delta->tar);
    free(delta->blocks);
    free(delta->written);
}

/* The base's directory at this place, -EBADF where it has none. */
static int base_top(const struct delta *delta)
{
    return delta->missing > 0 ? -EBADF : dir_stack_top(&delta->base);
}

static int base_enter(struct delta *delta, const struct walk_entry *entry, struct error *err)
{
    bool is_root = !*entry->path;
    int fd = -ENOENT;
    if (is_root || delta->missing == 0)
        fd = dir_open_at(is_root ? delta->base_fd : dir_stack_top(&delta->base),
                         is_root ? "." : entry->name);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -ELOOP) {
        delta->missing++;
        return 0;
    }
    int r = fd < 0 ? fd : dir_stack_push(&delta->base, fd);
    return r < 0 ? same_failed(entry, r, err) : 0;
}

static int base_leave(struct delta *delta, const struct walk_entry *entry, struct error *err)
{
    if (delta->missing > 0) {
        delta->missing--;
        return 0;
    }
    int r = dir_stack_pop(&delta->base);
    return r < 0 ? same_failed(entry, r, err) : 0;
}

/* Notes a file with several links. */
static int note_links(struct delta *delta, struct path_set *set, const struct walk_entry *entry,
                      struct error *err)
{
    const char *first = NULL;
    if (entry->links < 2 || entry->is_mount_point || S_ISSOCK(entry->mode))
        return 0;
    int r = links_first(&delta->links, entry, &first);
    if (r == 0)
        r = path_set_add(set, entry->path, first ? first : entry->path);
    return r < 0 ? same_failed(entry, r, err) : 0;
}

static int base_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct delta *delta = data;
    return note_links(delta, &delta->base_linked, entry, err);
}

static int base_directory(void *data, const struct walk_entry *entry, int directory_fd,
                          struct error *err)
{
    return 0;
}

static int put_gone(struct delta *delta, const struct walk_entry *entry, const char *name,
                    enum stream_type type, struct error *err)
{
    _cleanup_buffer_ struct buffer path = {0};
    buffer_append_text(&path, entry->path);
    if (*entry->path)
        buffer_append_char(&path, '/');
    buffer_append_text(&path, name);
    return path.failed ? same_failed(entry, ENOMEM, err)
                       : stream_put_path(delta->stream, type, path.data, err);
}

/* One name of the base's directory: 1 where something is gone there. */
static int look_at_name(struct delta *delta, const struct walk_entry *entry, int directory_fd,
                        const char *name, struct error *err)
{
    struct stat was;
    struct stat now = {0};
    if (fstatat(base_top(delta), name, &was, AT_SYMLINK_NOFOLLOW) < 0 ||
        (fstatat(directory_fd, name, &now, AT_SYMLINK_NOFOLLOW) < 0 && errno != ENOENT))
        return same_failed(entry, errno, err);
    if (S_ISSOCK(was.st_mode)) /* which no tree has that was sent */
        return 0;
    bool is_gone = now.st_nlink == 0 || S_ISSOCK(now.st_mode);
    if (!is_gone && (was.st_mode & S_IFMT) == (now.st_mode & S_IFMT))
        return 0;
    int r = put_gone(delta, entry, name, is_gone ? STREAM_GONE : STREAM_REPLACED, err);
    return r < 0 ? r : 1;
}

static int list_gone(struct delta *delta, const struct walk_entry *entry, int directory_fd,
                     struct error *err)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(base_top(delta), "."));
    struct dirent *name = NULL;
    bool any = false;
    if (!dir)
        return same_failed(entry, errno, err);
    int left = dir_next(dir, &name);
    for (; left > 0; left = dir_next(dir, &name)) {
        int r = look_at_name(delta, entry, directory_fd, name->d_name, err);
        if (r < 0)
            return r;
        any = any || r > 0;
    }
    if (left == 0 && any)
        left = path_set_add(&delta->touched, entry->path, NULL);
    return left < 0 ? same_failed(entry, left, err) : 0;
}

static int first_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct delta *delta = data;
    return note_links(delta, &delta->linked, entry, err);
}

static int first_enter(void *data, const struct walk_entry *entry, int directory_fd,
                       struct error *err)
{
    struct delta *delta = data;
    int r = base_enter(delta, entry, err);
    return r < 0 || delta->missing > 0 ? r : list_gone(delta, entry, directory_fd, err);
}

static int first_leave(void *data, const struct walk_entry *entry, int directory_fd,
                       struct error *err)
{
    return base_leave(data, entry, err);
}

/* A file that has other links than it had changes with all its links. */
static void compare_links(struct delta *delta)
{
    path_set_sort(&delta->touched);
    path_set_sort(&delta->linked);
    path_set_sort(&delta->base_linked);
    for (size_t i = 0; i < delta->linked.n; i++) {
        const struct path_note *now = &delta->linked.items[i];
        const struct path_note *was = path_set_find(&delta->base_linked, now->path);
        if (!was || !streq(was->first, now->first))
            path_set_find(&delta->linked, now->first)->changed = true;
    }
}

/* Whether the entry has to be sent. */
static int is_changed(struct delta *delta, const struct walk_entry *entry, bool *ret,
                      struct error *err)
{
    struct path_note *note = path_set_find(&delta->linked, entry->path);
    struct path_note *first = note ? path_set_find(&delta->linked, note->first) : NULL;
    bool same = false;
    int r = 0;
    if (first && first != note) { /* the walk has met that one already */
        *ret = first->changed;
        return 0;
    }
    bool parted = !note && path_set_find(&delta->base_linked, entry->path);
    if (!parted && !(note && note->changed) && base_top(delta) >= 0)
        r = same_entry(entry, base_top(delta), delta->blocks, &same, err);
    if (note)
        note->changed = !same;
    *ret = !same;
    return r;
}

static int second_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct delta *delta = data;
    bool changed = true;
    int r = S_ISSOCK(entry->mode) ? 0 : is_changed(delta, entry, &changed, err);
    if (r < 0 || !changed) {
        progress_add(delta->progress, 1, 0);
        if (S_ISREG(entry->mode))
            progress_input(delta->progress, entry->size / (entry->links ? entry->links : 1));
        return r;
    }
    if (!S_ISSOCK(entry->mode))
        delta->written[delta->depth - 1] = true;
    return tar_write_entry(&delta->tar, entry, -EBADF, err);
}

static int second_enter(void *data, const struct walk_entry *entry, int directory_fd,
                        struct error *err)
{
    struct delta *delta = data;
    if (delta->depth == delta->capacity) {
        size_t capacity = delta->capacity ? delta->capacity * 2 : 64;
        bool *written = reallocarray(delta->written, capacity, sizeof(*written));
        if (!written)
            return same_failed(entry, ENOMEM, err);
        delta->written = written;
        delta->capacity = capacity;
    }
    delta->written[delta->depth++] = path_set_find(&delta->touched, entry->path) != NULL;
    return base_enter(delta, entry, err);
}

/* Directories come behind their content: only then it is known whether they have to. */
static int second_leave(void *data, const struct walk_entry *entry, int directory_fd,
                        struct error *err)
{
    struct delta *delta = data;
    bool same = false;
    int r = 0;
    /* the root is always there: a stream that says nothing of it makes a new one */
    if (*entry->path && !delta->written[delta->depth - 1] && base_top(delta) >= 0)
        r = same_directory(entry, directory_fd, base_top(delta), &same, err);
    if (r == 0 && !same)
        r = tar_write_entry(&delta->tar, entry, directory_fd, err);
    delta->depth--;
    if (!same && delta->depth > 0)
        delta->written[delta->depth - 1] = true;
    return r < 0 ? r : base_leave(delta, entry, err);
}

static int run(struct delta *delta, int root_fd, struct error *err)
{
    const struct walk_visitor of_base = {base_entry, base_directory, NULL, delta};
    const struct walk_visitor first = {first_entry, first_enter, first_leave, delta};
    const struct walk_visitor second = {second_entry, second_enter, second_leave, delta};
    int r = walk_tree(delta->base_fd, &of_base, err);
    links_clear(&delta->links);
    if (r == 0)
        r = walk_tree(root_fd, &first, err);
    if (r < 0)
        return r;
    compare_links(delta);
    dir_stack_clear(&delta->base);
    r = walk_tree(root_fd, &second, err);
    return r < 0 ? r : tar_write_end(&delta->tar, err);
}

int image_delta(int base_fd, int root_fd, struct stream_writer *stream,
                struct progress *progress, struct error *err)
{
    _cleanup_(delta_clear) struct delta delta = {
        .stream = stream,
        .progress = progress,
        .base_fd = base_fd,
        .blocks = malloc(sizeof(*delta.blocks)),
    };
    _cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = delta.blocks ? tar_writer_init(&delta.tar, &stream->sink, progress, err)
                         : fail(err, ERROR_SYSTEM, ENOMEM, "compare: ");
    if (r == 0)
        r = run(&delta, root_fd, err);
    if (cwd >= 0 && fchdir(cwd) < 0 && r == 0)
        r = fail(err, ERROR_SYSTEM, errno, "return to the working directory: ");
    return r;
}
