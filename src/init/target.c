/* SPDX-License-Identifier: Apache-2.0 */
/* Where the targets of binds and tmpfs lead. Symbolic links of the root itself are followed,
 * within it: every link is read here and its text taken apart, so that the kernel follows none.
 * What comes out is text, of a tree that may change at once: place.c walks it again, by fd and
 * through no link at all. Runs as root of the sandbox's user namespace, before anything of the
 * caller's is mounted; targets are the caller's words, the tree is hostile. */
#include "base/text.h"
#include "init/place.h"
#include "spec/engine_places.h"
#include "spec/names.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#define LINKS_MAX  40 /* as the kernel's own */
#define ROUNDS_MAX 8

struct lookup {
    int root_fd;
    const struct place_list *list;
    const struct place *place;
    char path[PATH_MAX]; /* reached so far, "" is the root */
    char rest[PATH_MAX];
    char name[NAME_MAX + 1]; /* the component that is being looked at */
    unsigned n_links;
    /* path does not exist, or is not the root's own: what is behind it is not looked at */
    bool is_beyond;
};

static int refuse(const struct lookup *lookup, int errnum, const char *why, struct error *err)
{
    return fail(err, ERROR_INVALID, errnum, "bind target %.200s: %s; name the place itself",
                lookup->place->target, why);
}

/* Cuts the next component off rest, "" where there is none. */
static int next_name(struct lookup *lookup, struct error *err)
{
    size_t slashes = strspn(lookup->rest, "/");
    const char *at = lookup->rest + slashes;
    size_t length = strcspn(at, "/");
    if (length > NAME_MAX)
        return refuse(lookup, ENAMETOOLONG, "a link on the way has too long a name in it", err);
    memcpy(lookup->name, at, length);
    lookup->name[length] = '\0';
    memmove(lookup->rest, at + length, strlen(at + length) + 1);
    return 0;
}

static void leave_last(char *path)
{
    char *slash = strrchr(path, '/');
    if (slash)
        *slash = '\0';
}

static bool is_anothers(const struct lookup *lookup)
{
    for (size_t i = 0; i < lookup->list->n; i++) {
        const struct place *other = &lookup->list->places[i];
        if (other != lookup->place && streq(other->path, lookup->path))
            return true;
    }
    return false;
}

static int follow(struct lookup *lookup, int link_fd, struct error *err)
{
    char text[PATH_MAX];
    char rest[PATH_MAX];
    ssize_t n = readlinkat(link_fd, "", text, sizeof(text) - 1);
    if (n < 0)
        return fail(err, ERROR_SYSTEM, errno,
                    "bind target %.200s: link %.200s: ", lookup->place->target, lookup->path);
    if (++lookup->n_links > LINKS_MAX)
        return refuse(lookup, ELOOP, "too many symbolic links on the way, or a loop of them",
                      err);
    text[n] = '\0';
    if ((size_t)snprintf(rest, sizeof(rest), "%s%s", text, lookup->rest) >= sizeof(rest))
        return refuse(lookup, ENAMETOOLONG, "the links on the way make too long a path", err);
    memcpy(lookup->rest, rest, sizeof(rest));
    if (text[0] == '/')
        lookup->path[0] = '\0';
    else
        leave_last(lookup->path);
    return 0;
}

/* What is at path. A link that is not the root's own is left to place.c, which refuses it. */
static int look(struct lookup *lookup, struct error *err)
{
    struct stat st;
    _cleanup_close_ int fd =
        open_resolved(lookup->root_fd, lookup->path + 1, O_PATH | O_NOFOLLOW,
                      RESOLVE_NO_SYMLINKS | RESOLVE_NO_XDEV);
    if (fd == -ENOENT || fd == -ENOTDIR || fd == -EXDEV) {
        lookup->is_beyond = true;
        return 0;
    }
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, fd < 0 ? fd : errno,
                    "bind target %.200s: look at %.200s: ", lookup->place->target,
                    lookup->path);
    return S_ISLNK(st.st_mode) ? follow(lookup, fd, err) : 0;
}

static int step(struct lookup *lookup, struct error *err)
{
    if (streq(lookup->name, "."))
        return 0;
    if (streq(lookup->name, "..")) {
        if (lookup->is_beyond)
            return refuse(lookup, ENOENT,
                          "a link on the way leads on by \"..\" from what is not there, or "
                          "not the root's own",
                          err);
        leave_last(lookup->path);
        return 0;
    }
    size_t length = strlen(lookup->path);
    if (length + 1 + strlen(lookup->name) >= sizeof(lookup->path))
        return refuse(lookup, ENAMETOOLONG, "the links on the way make too long a path", err);
    (void)snprintf(lookup->path + length, sizeof(lookup->path) - length, "/%s", lookup->name);
    if (!lookup->is_beyond && is_anothers(lookup))
        lookup->is_beyond = true;
    return lookup->is_beyond ? 0 : look(lookup, err);
}

/* 1: it leads to another place than it was thought to. */
static int resolve(int root_fd, const struct place_list *list, struct place *place,
                   struct error *err)
{
    struct lookup lookup = {.root_fd = root_fd, .list = list, .place = place};
    if ((size_t)snprintf(lookup.rest, sizeof(lookup.rest), "%s", place->target) >=
        sizeof(lookup.rest))
        return refuse(&lookup, ENAMETOOLONG, "too long a path", err);
    int r = next_name(&lookup, err);
    while (r == 0 && *lookup.name) {
        r = step(&lookup, err);
        if (r == 0)
            r = next_name(&lookup, err);
    }
    const char *path = *lookup.path ? lookup.path : "/";
    if (r < 0 || streq(path, place->path))
        return r;
    free(place->resolved);
    place->resolved = strdup(path);
    place->path = place->resolved;
    return place->resolved ? 1 : fail(err, ERROR_SYSTEM, ENOMEM, "bind target: ");
}

/* Nearly all targets: the kernel has found no link on the way. */
static bool is_plain(int root_fd, const struct place *place)
{
    _cleanup_close_ int fd =
        open_resolved(root_fd, place->target + 1, O_PATH, RESOLVE_NO_SYMLINKS);
    return fd != -ELOOP;
}

/* Where one leads depends on where others are: nothing is followed below their mounts, which
 * will hide it. So until nothing changes. */
static int resolve_all(int root_fd, struct place_list *list, struct error *err)
{
    bool changed = true;
    for (unsigned round = 0; changed; round++) {
        if (round == ROUNDS_MAX)
            return fail(err, ERROR_INVALID, ELOOP,
                        "targets of binds: where they lead depends on one another through "
                        "symbolic links; name the places themselves");
        changed = false;
        for (size_t i = 0; i < list->n; i++) {
            struct place *place = &list->places[i];
            int r = place->is_plain ? 0 : resolve(root_fd, list, place, err);
            if (r < 0)
                return r;
            changed = changed || r > 0;
        }
    }
    return 0;
}

/* What isolated has checked of the target holds for where it leads. */
static int check_place(const struct place_list *list, const struct place *place,
                       struct error *err)
{
    char what[256];
    (void)snprintf(what, sizeof(what), "%.200s leads elsewhere: bind", place->target);
    int r = target_check(place->path, what, err);
    if (r < 0)
        return r;
    if (place->is_bind &&
        engine_places_check(list->engine, place->path, place->is_read_only, err) < 0)
        return error_prefix(err, -err->errnum, "%.200s leads elsewhere: ", place->target);
    for (size_t i = 0; i < list->n; i++) {
        const struct place *other = &list->places[i];
        if (other != place && streq(other->path, place->path))
            return fail(
                err, ERROR_INVALID, EEXIST,
                "two binds or tmpfs at %.150s: the targets %.100s and %.100s lead there",
                place->path, other->target, place->target);
    }
    const char *private = list->private_directory;
    if (*private && (streq(private, place->path) || place_is_below(private, place->path)))
        return fail(err, ERROR_INVALID, EBUSY,
                    "bind target %.150s: leads to %.150s, and would cover %.100s, where the "
                    "display or sound is handed over; choose another place for it",
                    place->target, place->path, private);
    return 0;
}

static int check_all(const struct place_list *list, struct error *err)
{
    for (size_t i = 0; i < list->n; i++) {
        int r = list->places[i].is_plain ? 0 : check_place(list, &list->places[i], err);
        if (r < 0)
            return r;
    }
    return 0;
}

int places_resolve(struct place_list *list, struct error *err)
{
    bool all_plain = true;
    _cleanup_close_ int root_fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (root_fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "open the root: ");
    for (size_t i = 0; i < list->n; i++) {
        list->places[i].is_plain = is_plain(root_fd, &list->places[i]);
        all_plain = all_plain && list->places[i].is_plain;
    }
    if (all_plain)
        return 0;
    int r = resolve_all(root_fd, list, err);
    return r < 0 ? r : check_all(list, err);
}
