/* SPDX-License-Identifier: Apache-2.0 */
/* Changes applied to a tree. Runs in isolated as root; `from` is what a sandbox left. Nobody
 * else writes to `to`. */
#include "storage/apply.h"

#include "base/text.h"
#include "storage/compare.h"
#include "storage/copy_entry.h"
#include "storage/store_commit.h"
#include "sys/fd.h"
#include "sys/inodes.h"
#include "sys/tree.h"
#include "sys/walk.h"

#include <fcntl.h>
#include <inttypes.h>
#include <limits.h>
#include <string.h>
#include <sys/stat.h>

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
    struct change *change = &list->items[list->n];
    change->kind = kind;
    change->path = strdup(path);
    if (!change->path)
        return -ENOMEM;
    list->n++;
    return 0;
}

/* One of the names of a file that has several, in `from`. */
struct link {
    char *path;
    size_t next;      /* another name of the same file: 1 + its index, 0 ends */
    const char *made; /* kept with its first name: which of them is in `to` already */
};

struct apply {
    int from;
    int to;
    uint32_t first_id;
    struct inode_table inodes; /* of files with several names: 1 + index of the first */
    struct link *links;
    size_t n_links;
    size_t capacity;
    struct error *err;
};

static void apply_clear(struct apply *apply)
{
    for (size_t i = 0; i < apply->n_links; i++)
        free(apply->links[i].path);
    freep(&apply->links);
    inode_table_clear(&apply->inodes);
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

static int place_open_to(const struct apply *apply, const char *path, struct place *ret)
{
    _cleanup_close_ int found = store_open_parent(apply->to, path, &ret->name);
    ret->to = found < 0 ? found : dir_open_at(found, ".");
    choose_name(ret);
    return ret->to < 0 ? ret->to : 0;
}

static int place_open(const struct apply *apply, const char *path, struct place *ret)
{
    ret->from = store_open_parent(apply->from, path, &ret->name);
    int r = ret->from < 0 ? ret->from : place_open_to(apply, path, ret);
    if (r < 0)
        return r;
    return fstatat(ret->from, ret->name, &ret->st, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
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

static struct copy_place copy_place_of(const struct apply *apply, int from, int to)
{
    return (struct copy_place){
        .from = from,
        .to = to,
        .may_inherit = true,
        .first_id = apply->first_id,
    };
}

/* Directories get their attributes at the end. */
static int make_entry(const struct apply *apply, const struct place *place)
{
    struct stat now;
    int r = 0;
    if (!S_ISDIR(place->st.st_mode)) {
        const struct copy_place fds = copy_place_of(apply, place->from, place->to);
        r = copy_one_as(&fds, place->name, place->new_name, &place->st);
    } else if (fstatat(place->to, place->name, &now, AT_SYMLINK_NOFOLLOW) == 0 &&
               S_ISDIR(now.st_mode)) {
        return 0;
    } else if (mkdirat(place->to, place->new_name, 0700) < 0) {
        r = -errno;
    }
    return r < 0 ? r : put_in_place(place);
}

static int remove_entry(const struct apply *apply, const char *path)
{
    _cleanup_place_ struct place place = {.from = -EBADF, .to = -EBADF};
    int r = place_open_to(apply, path, &place);
    if (r < 0)
        return r == -ENOENT || r == -ENOTDIR ? 0 : r;
    return tree_remove(place.to, place.name);
}

/* The first name of the file, NULL where it has only one. */
static struct link *link_find(struct apply *apply, const struct stat *st)
{
    uint64_t first = 0;
    if (S_ISDIR(st->st_mode) || st->st_nlink < 2 ||
        inode_table_first(&apply->inodes, st->st_dev, st->st_ino, UINT64_MAX, &first) < 0 ||
        first == 0 || first == UINT64_MAX)
        return NULL;
    return &apply->links[first - 1];
}

static int apply_one(struct apply *apply, const struct change *change)
{
    if (change->kind == DIFF_DELETED)
        return remove_entry(apply, change->path);
    if (streq(change->path, "/"))
        return 0; /* with the directories, at the end */
    _cleanup_place_ struct place place = {.from = -EBADF, .to = -EBADF};
    int r = place_open(apply, change->path, &place);
    if (r < 0)
        return r;
    struct link *link = link_find(apply, &place.st);
    if (link && link->made)
        return 0; /* with the links, when all directories are there */
    r = make_entry(apply, &place);
    if (r == 0 && link)
        link->made = change->path;
    return r;
}

/* What was done in a directory has changed its times, and perhaps its mode was in the way. */
static int finish_directory(const struct apply *apply, const char *path)
{
    _cleanup_close_ int from = compare_read_directory(apply->from, path);
    _cleanup_close_ int to = compare_read_directory(apply->to, path);
    const struct copy_place fds = copy_place_of(apply, from, to);
    return from < 0 || to < 0 ? 0 : copy_directory_attributes(&fds);
}

static int finish_directories(const struct apply *apply, const struct change_list *changes)
{
    _cleanup_free_ char *last = NULL;
    for (size_t i = changes->n; i > 0; i--) {
        const char *path = changes->items[i - 1].path;
        char *parent = strndup(path, (size_t)(strrchr(path, '/') - path));
        if (!parent)
            return -ENOMEM;
        int r = streq(path, "/") ? 0 : finish_directory(apply, path);
        if (r == 0 && (!last || !streq(parent, last)))
            r = finish_directory(apply, parent);
        free(last);
        last = parent;
        if (r < 0)
            return failed(apply, r, path);
    }
    return 0;
}

/* ---- files with several links ---- */

static int note_link(struct apply *apply, const struct walk_entry *entry)
{
    uint64_t first = 0;
    if (apply->n_links == apply->capacity) {
        size_t capacity = apply->capacity ? apply->capacity * 2 : 64;
        void *links = reallocarray(apply->links, capacity, sizeof(*apply->links));
        if (!links)
            return -ENOMEM;
        apply->links = links;
        apply->capacity = capacity;
    }
    struct link *link = &apply->links[apply->n_links];
    *link = (struct link){0};
    if (asprintf(&link->path, "/%s", entry->path) < 0)
        return -ENOMEM;
    size_t own = ++apply->n_links;
    int r = inode_table_first(&apply->inodes, entry->device, entry->inode, own, &first);
    if (r < 0 || first == 0)
        return r;
    link->next = apply->links[first - 1].next;
    apply->links[first - 1].next = own;
    return 0;
}

static int note_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    int r = entry->links < 2 ? 0 : note_link(data, entry);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "look for links: ") : 0;
}

/* The directory may have no change of its own: its times stay. */
static int link_to(const struct apply *apply, const struct place *made, const char *path)
{
    struct stat st;
    _cleanup_place_ struct place place = {.from = -EBADF, .to = -EBADF};
    int r = place_open_to(apply, path, &place);
    if (r == -ENOENT || r == -ENOTDIR || r == -ELOOP)
        return 0; /* no directory in `to`: not one of the changes */
    if (r < 0 || fstat(place.to, &st) < 0)
        return r < 0 ? r : -errno;
    const struct timespec times[2] = {st.st_atim, st.st_mtim};
    if (linkat(made->to, made->name, place.to, place.new_name, 0) < 0)
        return -errno;
    r = put_in_place(&place);
    return r < 0 ? r : futimens(place.to, times) < 0 ? -errno : 0;
}

/* Every other name of the files that were made becomes a link to them. */
static int make_links(const struct apply *apply)
{
    for (size_t i = 0; i < apply->n_links; i++) {
        const char *path = apply->links[i].made;
        if (!path)
            continue;
        _cleanup_place_ struct place made = {.from = -EBADF, .to = -EBADF};
        int r = place_open_to(apply, path, &made);
        if (r < 0)
            return failed(apply, r, path);
        for (size_t at = i + 1; at != 0; at = apply->links[at - 1].next) {
            const char *other = apply->links[at - 1].path;
            r = streq(other, path) ? 0 : link_to(apply, &made, other);
            if (r < 0)
                return failed(apply, r, other);
        }
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
    if (r == 0)
        r = make_links(&apply);
    return r < 0 ? r : finish_directories(&apply, changes);
}
