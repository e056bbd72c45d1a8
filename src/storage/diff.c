/* SPDX-License-Identifier: Apache-2.0 */
/* The walk that tells what a clone changed. Three sides are looked at together, path by path:
 * `upper`, what the sandbox wrote; `base`, the generation that it began with; and `source`, the
 * part of the base that shows through the upper at this path: the same place as a rule, another
 * one below a renamed directory, none below a replaced one. Where source and base are the same
 * place only names in the upper can differ, so the cost is that of the changes, not of the
 * template. Of drivers whose clones are whole trees, the upper is everything and has no source.
 *
 * Runs in isolated as root. The upper is hostile in names, depth, types and sizes: no level of
 * the walk holds an fd while it is below another, nothing is followed. */
#include "storage/diff.h"
#include "base/text.h"
#include "storage/compare.h"
#include "storage/store_commit.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define DEPTH_MAX    1000
#define REDIRECT_MAX 4096

struct walk {
    int upper; /* roots of the trees */
    int base;
    bool is_overlay; /* the upper has an overlay's marks */
    bool is_exact;
    const struct provided_list *provided;
    diff_callback callback;
    void *data;
    struct error *err;
    unsigned depth;
    struct buffer path; /* of the directory that is looked at, "" for the root */
};

/* The directory that is looked at. */
struct level {
    bool in_upper; /* there is such a directory */
    bool in_base;
    bool guided; /* source and base are the same: only names in the upper matter */
    char
        *source; /* NULL: nothing shows through. Else where in the base it is: this text with */
    size_t skip; /* what follows the first `skip` bytes of the path */
    int upper_fd; /* open while this level is at work, else -EBADF */
    int source_fd;
    int base_fd;
    char **names; /* "x" for the entry x itself, "x/" for what is below it */
    size_t n_names;
};

static void level_close(struct level *level)
{
    level->upper_fd = fd_close(level->upper_fd);
    level->source_fd = fd_close(level->source_fd);
    level->base_fd = fd_close(level->base_fd);
}

static void level_clear(struct level *level)
{
    level_close(level);
    for (size_t i = 0; i < level->n_names; i++)
        free(level->names[i]);
    freep(&level->names);
    freep(&level->source);
}

static const char *walk_path(const struct walk *walk)
{
    return walk->path.data ? walk->path.data : "";
}

static void path_cut(struct buffer *path, size_t length)
{
    if (path->data && path->length > length) {
        path->length = length;
        path->data[length] = '\0';
    }
}

static int walk_fail(struct walk *walk, int r, const char *name)
{
    return fail(walk->err, ERROR_SYSTEM, r, "diff: %.300s/%.100s: ", walk_path(walk), name);
}

static int level_open(struct walk *walk, struct level *level)
{
    const char *path = walk_path(walk);
    if (level->upper_fd >= 0 || level->source_fd >= 0 || level->base_fd >= 0)
        return 0;
    if (level->in_upper)
        level->upper_fd = compare_open_directory(walk->upper, path);
    if (level->in_base)
        level->base_fd = compare_open_directory(walk->base, path);
    if (level->source) {
        _cleanup_buffer_ struct buffer source = {0};
        buffer_append_text(&source, level->source);
        buffer_append_text(&source, path + level->skip);
        if (source.failed)
            return -ENOMEM;
        level->source_fd = compare_open_directory(walk->base, source.data ? source.data : "");
    }
    const int fds[] = {level->upper_fd, level->base_fd, level->source_fd};
    for (size_t i = 0; i < ELEMENTS(fds); i++) /* one that has just gone counts as empty */
        if (fds[i] < 0 && fds[i] != -EBADF && fds[i] != -ENOENT && fds[i] != -ENOTDIR)
            return fds[i];
    return 0;
}

static int names_add(struct level *level, const char *name, const char *suffix)
{
    if ((level->n_names & (level->n_names - 1)) == 0) {
        size_t room = level->n_names ? level->n_names * 2 : 1;
        char **names = reallocarray(level->names, room, sizeof(*names));
        if (!names)
            return -ENOMEM;
        level->names = names;
    }
    if (asprintf(&level->names[level->n_names], "%s%s", name, suffix) < 0)
        return -ENOMEM;
    level->n_names++;
    return 0;
}

static int names_read(struct level *level, int dir_fd)
{
    if (dir_fd < 0)
        return 0;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, "."));
    if (!dir)
        return -errno;
    struct dirent *entry = NULL;
    int left = dir_next(dir, &entry);
    for (; left > 0; left = dir_next(dir, &entry)) {
        int r = names_add(level, entry->d_name, "");
        if (r == 0 && (entry->d_type == DT_DIR || entry->d_type == DT_UNKNOWN))
            r = names_add(level, entry->d_name, "/");
        if (r < 0)
            return r;
    }
    return left;
}

static int compare_names(const void *a, const void *b)
{
    return strcmp(*(char *const *)a, *(char *const *)b);
}

/* All names that may differ, in order, each once. "x/" stands where the paths below x belong:
 * in order of bytes, x-y comes between x and x/y. */
static int names_collect(struct level *level)
{
    int r = names_read(level, level->upper_fd);
    if (r == 0 && !level->guided)
        r = names_read(level, level->source_fd);
    if (r == 0 && !level->guided)
        r = names_read(level, level->base_fd);
    if (r < 0 || level->n_names == 0)
        return r;
    qsort(level->names, level->n_names, sizeof(*level->names), compare_names);
    size_t n = 1;
    for (size_t i = 1; i < level->n_names; i++) {
        if (streq(level->names[i], level->names[n - 1]))
            free(level->names[i]);
        else
            level->names[n++] = level->names[i];
    }
    level->n_names = n;
    return 0;
}

/* The two states of one entry: `now` in the sandbox, `was` in the generation. */
struct pair {
    struct compare_entry upper;
    struct compare_entry source;
    struct compare_entry base;
    const struct compare_entry *now; /* upper or source */
};

static void pair_clear(struct pair *pair)
{
    compare_entry_clear(&pair->upper);
    compare_entry_clear(&pair->source);
    compare_entry_clear(&pair->base);
}

static int pair_open(const struct walk *walk, const struct level *level, const char *name,
                     struct pair *ret)
{
    bool whiteout = false;
    bool ignored = false;
    bool *of_upper = walk->is_overlay ? &whiteout : NULL;
    bool *of_base = walk->is_overlay ? &ignored : NULL;
    int r = compare_entry_open(level->upper_fd, name, &ret->upper, of_upper);
    if (r == 0)
        r = compare_entry_open(whiteout ? -EBADF : level->source_fd, name, &ret->source,
                               of_base);
    if (r == 0)
        r = compare_entry_open(level->base_fd, name, &ret->base, of_base);
    ret->now = ret->upper.fd >= 0 ? &ret->upper : &ret->source;
    return r;
}

/* 1 they differ, 0 they do not, -errno. */
static int compare(const struct walk *walk, const struct compare_entry *was,
                   const struct compare_entry *now)
{
    int r = compare_entries(was, now, !walk->is_overlay);
    return r == 0 && walk->is_exact ? compare_marks(was, now) : r;
}

static int report(struct walk *walk, const struct level *level, const char *name)
{
    _cleanup_(pair_clear) struct pair pair = {
        {.fd = -EBADF}, {.fd = -EBADF}, {.fd = -EBADF}, NULL};
    int r = pair_open(walk, level, name, &pair);
    if (r < 0)
        return walk_fail(walk, r, name);
    bool is = pair.now->fd >= 0;
    bool was = pair.base.fd >= 0;
    if (!is && !was)
        return 0;
    enum diff_kind kind = was ? DIFF_DELETED : DIFF_ADDED;
    if (is && was) {
        kind = DIFF_CHANGED;
        r = compare(walk, &pair.base, pair.now);
        if (r <= 0)
            return r < 0 ? walk_fail(walk, r, name) : 0;
    }
    size_t length = walk->path.length;
    buffer_append_char(&walk->path, '/');
    buffer_append_text(&walk->path, name);
    if (walk->path.failed)
        return fail(walk->err, ERROR_SYSTEM, ENOMEM, "diff: ");
    if (kind == DIFF_DELETED ||
        !store_is_provided(walk->upper, walk->path.data, walk->provided))
        r = walk->callback(walk->data, kind, walk->path.data);
    else
        r = 0;
    path_cut(&walk->path, length);
    return r;
}

/* What shows through the upper directory `fd`, whose name is appended to the path already: sets
 * source and skip of the child. */
static int source_of_upper(struct walk *walk, const struct level *level, int fd,
                           size_t parent_length, struct level *child)
{
    char value[REDIRECT_MAX];
    int r = compare_xattr_get(fd, "trusted.overlay.opaque", value, sizeof(value));
    if (r >= 0 && streq(value, "y")) {
        free(TAKE_PTR(child->source));
        child->guided = false;
        return 0;
    }
    if (r < 0 && r != -ENODATA && r != -EOPNOTSUPP)
        return r;
    r = compare_xattr_get(fd, "trusted.overlay.redirect", value, sizeof(value));
    if (r < 0)
        return r == -ENODATA || r == -EOPNOTSUPP ? 0 : r;
    free(TAKE_PTR(child->source));
    child->guided = false;
    child->skip = walk->path.length;
    if (value[0] == '/')
        child->source = strdup(value);
    else if (!level->source)
        return 0;
    /* a name beside it, where the parent's source is */
    else if (strchr(value, '/') || asprintf(&child->source, "%s%.*s/%s", level->source,
                                            (int)(parent_length - level->skip),
                                            walk_path(walk) + level->skip, value) < 0)
        return -EINVAL;
    return child->source ? 0 : -ENOMEM;
}

/* Fills in the sides of the child directory, whose name is appended to the path already. 0:
 * there is nothing to look at. */
static int child_find(struct walk *walk, const struct level *level, const char *name,
                      size_t parent_length, struct level *child)
{
    _cleanup_(pair_clear) struct pair pair = {
        {.fd = -EBADF}, {.fd = -EBADF}, {.fd = -EBADF}, NULL};
    int r = pair_open(walk, level, name, &pair);
    if (r < 0)
        return r;
    if (pair.now->fd < 0 || !S_ISDIR(pair.now->st.st_mode))
        return 0;
    child->in_upper = pair.upper.fd >= 0;
    child->in_base = pair.base.fd >= 0 && S_ISDIR(pair.base.st.st_mode);
    child->skip = level->skip;
    if (level->source && pair.source.fd >= 0 && S_ISDIR(pair.source.st.st_mode)) {
        child->source = strdup(level->source);
        child->guided = level->guided;
        if (!child->source)
            return -ENOMEM;
    }
    if (child->in_upper && walk->is_overlay)
        r = source_of_upper(walk, level, pair.upper.fd, parent_length, child);
    return r < 0 ? r : 1;
}

static int walk_level(struct walk *walk, struct level *level);

static int descend(struct walk *walk, struct level *level, const char *name)
{
    _cleanup_(level_clear) struct level child = {
        .upper_fd = -EBADF,
        .source_fd = -EBADF,
        .base_fd = -EBADF,
    };
    if (walk->depth >= DEPTH_MAX)
        return fail(walk->err, ERROR_UNSUPPORTED, ELOOP,
                    "diff: directories are nested deeper than %d levels: %.200s…", DEPTH_MAX,
                    walk_path(walk));
    size_t length = walk->path.length;
    buffer_append_char(&walk->path, '/');
    buffer_append(&walk->path, name, strlen(name));
    if (walk->path.failed)
        return fail(walk->err, ERROR_SYSTEM, ENOMEM, "diff: ");
    int r = child_find(walk, level, name, length, &child);
    if (r < 0)
        r = walk_fail(walk, r, "");
    if (r > 0) {
        level_close(level); /* depth must not cost fds */
        walk->depth++;
        r = walk_level(walk, &child);
        walk->depth--;
    }
    path_cut(&walk->path, length);
    return r;
}

static int walk_level(struct walk *walk, struct level *level)
{
    int r = level_open(walk, level);
    if (r == 0)
        r = names_collect(level);
    if (r < 0)
        return walk_fail(walk, r, "");
    for (size_t i = 0; i < level->n_names && r == 0; i++) {
        char *name = level->names[i];
        size_t length = strlen(name);
        r = level_open(walk, level);
        if (r < 0)
            return walk_fail(walk, r, name);
        if (name[length - 1] == '/') {
            name[length - 1] = '\0';
            r = descend(walk, level, name);
        } else {
            r = report(walk, level, name);
        }
    }
    return r;
}

static int walk_root(struct walk *walk)
{
    _cleanup_(level_clear) struct level root = {
        .in_upper = true,
        .in_base = true,
        .guided = walk->is_overlay,
        .source = walk->is_overlay ? strdup("") : NULL,
        .upper_fd = -EBADF,
        .source_fd = -EBADF,
        .base_fd = -EBADF,
    };
    _cleanup_compare_entry_ struct compare_entry was = {.fd = -EBADF};
    _cleanup_compare_entry_ struct compare_entry now = {.fd = -EBADF};
    if (walk->is_overlay && !root.source)
        return fail(walk->err, ERROR_SYSTEM, ENOMEM, "diff: ");
    int r = compare_entry_open(walk->base, ".", &was, NULL);
    if (r == 0)
        r = compare_entry_open(walk->upper, ".", &now, NULL);
    if (r == 0)
        r = compare(walk, &was, &now);
    if (r < 0)
        return walk_fail(walk, r, "");
    if (r > 0)
        r = walk->callback(walk->data, DIFF_CHANGED, "/");
    return r != 0 ? r : walk_level(walk, &root);
}

int diff_trees(const struct diff_trees *trees, const struct provided_list *provided,
               diff_callback callback, void *data, struct error *err)
{
    struct walk walk = {
        .upper = trees->now,
        .base = trees->was,
        .is_overlay = trees->is_overlay,
        .is_exact = trees->is_exact,
        .provided = provided,
        .callback = callback,
        .data = data,
        .err = err,
    };
    int r = walk_root(&walk);
    buffer_clear(&walk.path);
    return r;
}

static int end_at_once(void *data, enum diff_kind kind, const char *path)
{
    return 1;
}

int diff_is_any(const struct diff_trees *trees, const struct provided_list *provided,
                struct error *err)
{
    return diff_trees(trees, provided, end_at_once, NULL, err);
}

void diff_trees_clear(struct diff_trees *trees)
{
    trees->now = fd_close(trees->now);
    trees->was = fd_close(trees->was);
}
