/* SPDX-License-Identifier: Apache-2.0 */
/* Changes applied to a tree. Runs in isolated as root; `from` is what a sandbox left. Nobody
 * else writes to `to`. */
#include "storage/apply.h"

#include "base/text.h"
#include "storage/compare.h"
#include "storage/store_commit.h"
#include "sys/copy_content.h"
#include "sys/fd.h"
#include "sys/inodes.h"
#include "sys/tree.h"
#include "sys/walk.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>

void change_list_clear(struct change_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        free(list->items[i].path);
    freep(&list->items);
    *list = (struct change_list){0};
}

int change_list_add(void *data, enum diff_kind kind, const char *path)
{
    struct change_list *list = data;
    if (list->n == list->capacity) {
        size_t capacity = list->capacity ? list->capacity * 2 : 64;
        void *items = reallocarray(list->items, capacity, sizeof(*list->items));
        if (!items)
            return -ENOMEM;
        list->items = items;
        list->capacity = capacity;
    }
    char *copy = strdup(path);
    if (!copy)
        return -ENOMEM;
    list->items[list->n++] = (struct change){kind, copy};
    return 0;
}

struct apply {
    int from;
    int to;
    uint32_t first_id;
    struct copy_methods methods;
    struct inode_table inodes; /* of files with several links: 1 + where in `links` */
    struct change_list links;  /* their paths in `from`; kind is not used */
    uint64_t *next;            /* links of one inode, chained: 1 + index, 0 ends */
    struct error *err;
};

static void apply_clear(struct apply *apply)
{
    inode_table_clear(&apply->inodes);
    change_list_clear(&apply->links);
    freep(&apply->next);
}

static int failed(const struct apply *apply, int r, const char *path)
{
    return fail(apply->err, error_code_of_errno(-r), r, "change \"%.300s\": ", path);
}

/* One entry of `from`, and the directories that it is and will be in. */
struct place {
    const char *name;
    char new_name[32]; /* what it is called until it is complete */
    int from;          /* O_PATH */
    int to;
    struct stat st;
};

static void place_clear(struct place *place)
{
    place->from = fd_close(place->from);
    place->to = fd_close(place->to);
}
#define _cleanup_place_ _cleanup_(place_clear)

/* A name that nobody else has: what a user's file may be called would be in the way, or lost.
 * Whatever is made under it is made only where there is nothing. */
static void choose_name(struct place *place)
{
    uint64_t random = 0;
    random_fill(&random, sizeof(random));
    (void)snprintf(place->new_name, sizeof(place->new_name), ".isolate-%016" PRIx64, random);
}

static int place_open(const struct apply *apply, const char *path, struct place *ret)
{
    ret->from = store_open_parent(apply->from, path, &ret->name);
    int found = ret->from < 0 ? ret->from : store_open_parent(apply->to, path, &ret->name);
    if (found < 0)
        return found;
    ret->to = dir_open_at(found, ".");
    fd_close(found);
    if (ret->to < 0)
        return ret->to;
    choose_name(ret);
    return fstatat(ret->from, ret->name, &ret->st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

/* A path to an entry for the calls that know no fds. */
static void entry_path(int dir_fd, const char *name, char ret[static NAME_MAX + 32])
{
    (void)snprintf(ret, NAME_MAX + 32, "/proc/self/fd/%d/%.*s", dir_fd, NAME_MAX, name);
}

/* Owner, mode, attributes, times of the entry to what is called `name` in the target. */
static int set_attributes(const struct apply *apply, const struct place *place,
                          const char *name)
{
    char from[NAME_MAX + 32];
    char to[32];
    struct stat now;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    const struct stat *st = &place->st;
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    entry_path(place->from, place->name, from);
    int r = xattrs_read(-EBADF, from, &xattrs);
    if (r < 0)
        return r;
    /* the dataset may be mounted where its users reach it: whatever the name means by now, only
     * what was opened is changed */
    _cleanup_close_ int entry = openat(place->to, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (entry < 0 || fstat(entry, &now) < 0)
        return -errno;
    if ((now.st_mode ^ st->st_mode) & S_IFMT)
        return -ESTALE;
    (void)snprintf(to, sizeof(to), "/proc/self/fd/%d", entry);
    if (fchownat(entry, "", st->st_uid - apply->first_id, st->st_gid - apply->first_id,
                 AT_EMPTY_PATH) < 0)
        return -errno;
    if (S_ISLNK(st->st_mode)) /* a link has only owner and times */
        return utimensat(entry, "", times, AT_EMPTY_PATH) < 0 && errno != EINVAL ? -errno : 0;
    if (chmod(to, st->st_mode & 07777) < 0)
        return -errno;
    if (S_ISDIR(st->st_mode)) {
        _cleanup_close_ int fd = dir_open_at(entry, ".");
        if (fd >= 0)
            xattrs_remove_others(fd, &xattrs);
    }
    for (size_t i = 0; i < xattrs.n; i++) /* through the link, to the very file */
        if (setxattr(to, xattrs.items[i].name, xattrs.items[i].value, xattrs.items[i].length,
                     0) < 0)
            return -errno;
    return utimensat(AT_FDCWD, to, times, 0) < 0 ? -errno : 0;
}

static int make_regular(struct apply *apply, const struct place *place)
{
    bool reading = false;
    _cleanup_close_ int in = openat(place->from, place->name,
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    _cleanup_close_ int out = in < 0 ? in
                                     : openat(place->to, place->new_name,
                                              O_WRONLY | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
    if (out < 0)
        return -errno;
    return copy_content(in, out, (uint64_t)place->st.st_size, &apply->methods, &reading);
}

static int make_other(const struct place *place)
{
    char target[PATH_MAX];
    const struct stat *st = &place->st;
    if (S_ISDIR(st->st_mode))
        return mkdirat(place->to, place->new_name, 0700) < 0 ? -errno : 0;
    if (!S_ISLNK(st->st_mode))
        return mknodat(place->to, place->new_name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) <
                       0
                   ? -errno
                   : 0;
    ssize_t n = readlinkat(place->from, place->name, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    return symlinkat(target, place->to, place->new_name) < 0 ? -errno : 0;
}

/* What is complete takes the place of whatever has the name. */
static int put_in_place(const struct place *place)
{
    int r = renameat(place->to, place->new_name, place->to, place->name) < 0 ? -errno : 0;
    if (r != -EISDIR && r != -ENOTDIR && r != -ENOTEMPTY && r != -EEXIST)
        return r;
    r = tree_remove(place->to, place->name);
    if (r == 0 && renameat(place->to, place->new_name, place->to, place->name) < 0)
        r = -errno;
    return r;
}

static int make_entry(struct apply *apply, const struct place *place)
{
    struct stat now;
    if (S_ISDIR(place->st.st_mode) &&
        fstatat(place->to, place->name, &now, AT_SYMLINK_NOFOLLOW) == 0 && S_ISDIR(now.st_mode))
        return set_attributes(apply, place, place->name);
    int r = S_ISREG(place->st.st_mode) ? make_regular(apply, place) : make_other(place);
    if (r == 0)
        r = set_attributes(apply, place, place->new_name);
    return r < 0 ? r : put_in_place(place);
}

/* Every other name of the file becomes a link to the one that was made at `path`. */
static int make_links(struct apply *apply, const struct place *first, const char *path)
{
    uint64_t at = 0;
    int r =
        inode_table_first(&apply->inodes, first->st.st_dev, first->st.st_ino, UINT64_MAX, &at);
    while (r == 0 && at != 0 && at != UINT64_MAX) {
        const char *other = apply->links.items[at - 1].path;
        _cleanup_place_ struct place place = {.from = -EBADF, .to = -EBADF};
        at = apply->next[at - 1];
        if (streq(other, path) || place_open(apply, other, &place) < 0)
            continue; /* its directory is still to come: then it is linked from there */
        r = linkat(first->to, first->name, place.to, place.new_name, 0) < 0 ? -errno : 0;
        if (r == 0)
            r = put_in_place(&place);
    }
    return r;
}

static int remove_entry(const struct apply *apply, const char *path)
{
    const char *name = NULL;
    _cleanup_close_ int found = store_open_parent(apply->to, path, &name);
    _cleanup_close_ int to = found < 0 ? found : dir_open_at(found, ".");
    if (to < 0)
        return to == -ENOENT || to == -ENOTDIR ? 0 : to;
    return tree_remove(to, name);
}

static int apply_one(struct apply *apply, const struct change *change)
{
    if (change->kind == DIFF_DELETED)
        return remove_entry(apply, change->path);
    if (streq(change->path, "/"))
        return 0; /* with the directories, at the end */
    _cleanup_place_ struct place place = {.from = -EBADF, .to = -EBADF};
    int r = place_open(apply, change->path, &place);
    if (r == 0)
        r = make_entry(apply, &place);
    if (r == 0 && !S_ISDIR(place.st.st_mode) && place.st.st_nlink > 1)
        r = make_links(apply, &place, change->path);
    return r;
}

/* What was done in a directory has changed its times, and perhaps its mode was in the way. */
static int finish_directory(const struct apply *apply, const char *path)
{
    _cleanup_close_ int from = compare_open_directory(apply->from, path);
    _cleanup_close_ int to = compare_open_directory(apply->to, path);
    struct place place = {.name = ".", .from = from, .to = to};
    if (from < 0 || to < 0)
        return 0;
    if (fstat(from, &place.st) < 0)
        return -errno;
    return set_attributes(apply, &place, ".");
}

static int finish_directories(const struct apply *apply, const struct change_list *changes)
{
    for (size_t i = changes->n; i > 0; i--) {
        const char *path = changes->items[i - 1].path;
        char *parent = strdup(path);
        if (!parent)
            return -ENOMEM;
        *strrchr(parent, '/') = '\0';
        int r = finish_directory(apply, streq(path, "/") ? "" : path);
        if (r == 0)
            r = finish_directory(apply, parent);
        free(parent);
        if (r < 0)
            return failed(apply, r, path);
    }
    return 0;
}

/* ---- files with several links ---- */

static int note_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct apply *apply = data;
    _cleanup_free_ char *path = NULL;
    if (entry->links < 2)
        return 0;
    if (asprintf(&path, "/%s", entry->path) < 0 ||
        change_list_add(&apply->links, DIFF_ADDED, path) < 0)
        return fail(err, ERROR_SYSTEM, ENOMEM, "look for links: ");
    uint64_t *next = reallocarray(apply->next, apply->links.n, sizeof(*next));
    if (!next)
        return fail(err, ERROR_SYSTEM, ENOMEM, "look for links: ");
    apply->next = next;
    next[apply->links.n - 1] = 0;
    uint64_t first = 0;
    int r =
        inode_table_first(&apply->inodes, entry->device, entry->inode, apply->links.n, &first);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "look for links: ");
    if (first != 0) {
        next[apply->links.n - 1] = next[first - 1];
        next[first - 1] = apply->links.n;
    }
    return 0;
}

static int note_directory(void *data, const struct walk_entry *entry, int directory_fd,
                          struct error *err)
{
    return 0;
}

int changes_apply(const struct change_list *changes, int from_fd, int to_fd, uint32_t first_id,
                  struct error *err)
{
    _cleanup_(apply_clear) struct apply apply = {
        .from = from_fd,
        .to = to_fd,
        .first_id = first_id,
        .err = err,
    };
    const struct walk_visitor visitor = {note_entry, note_directory, NULL, &apply};
    int r = walk_tree(from_fd, &visitor, err);
    for (size_t i = 0; r == 0 && i < changes->n; i++) {
        r = apply_one(&apply, &changes->items[i]);
        if (r < 0)
            return failed(&apply, r, changes->items[i].path);
    }
    return r < 0 ? r : finish_directories(&apply, changes);
}
