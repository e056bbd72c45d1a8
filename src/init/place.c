/* SPDX-License-Identifier: Apache-2.0 */
/* Where binds and tmpfs go. Runs as root of the sandbox's user namespace, confined to its root;
 * targets are the caller's words, the tree they lead through is hostile. The walk is by fd, one
 * component at a time and through no symlink, so a race can lead neither out nor sideways; what
 * the root's own symlinks lead to was found before, as text (target.c). */
#include "init/place.h"
#include "base/text.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/limits.h>
#include <string.h>
#include <sys/stat.h>

#define TMPFS_ATTRIBUTES (MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV)

bool place_is_below(const char *path, const char *parent)
{
    const char *rest = text_after(path, parent);
    return rest && *rest == '/';
}

struct walk {
    const char *target;
    const char *bind;  /* the nearest one above target: nothing is made in it; NULL: none */
    const char *tmpfs; /* one between the two, in which that counts no more; or NULL */
    int dir;           /* the directory reached so far */
    size_t reached;    /* its path's length in target */
    char name[NAME_MAX + 1];
};

static int make_component(const struct walk *walk, bool directory, struct error *err)
{
    if (walk->bind && (!walk->tmpfs || walk->reached < strlen(walk->tmpfs)))
        return fail(
            err, ERROR_NOT_FOUND, ENOENT,
            "bind target %s: \"%s\" does not exist inside the bind at %s, and nothing is "
            "made there; make it first",
            walk->target, walk->name, walk->bind);
    int r = 0;
    if (directory) {
        r = mkdirat(walk->dir, walk->name, 0755);
    } else {
        _cleanup_close_ int fd =
            openat(walk->dir, walk->name, O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
        r = fd;
    }
    if (r < 0 && errno != EEXIST)
        return fail(err, ERROR_SYSTEM, errno, "bind target %s: make \"%s\": ", walk->target,
                    walk->name);
    return 0;
}

static int open_component(const struct walk *walk, bool directory, struct error *err)
{
    const int flags = O_PATH | O_NOFOLLOW | O_CLOEXEC;
    _cleanup_close_ int fd = openat(walk->dir, walk->name, flags);
    if (fd < 0 && errno == ENOENT) {
        int r = make_component(walk, directory, err);
        if (r < 0)
            return r;
        fd = openat(walk->dir, walk->name, flags);
    }
    struct stat st;
    if (fd < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "bind target %s: open \"%s\": ", walk->target,
                    walk->name);
    if (S_ISLNK(st.st_mode)) {
        char to[128] = "";
        ssize_t n = readlinkat(fd, "", to, sizeof(to) - 1);
        to[n > 0 ? n : 0] = '\0';
        return fail(err, ERROR_INVALID, ELOOP,
                    "bind target %s: \"%s\" is a symbolic link (to \"%s\") in a bind or a file "
                    "system over "
                    "the root, or made just now, and not followed; name the place itself",
                    walk->target, walk->name, to);
    }
    if (directory && !S_ISDIR(st.st_mode))
        return fail(err, ERROR_INVALID, ENOTDIR,
                    "bind target %s: \"%s\" in the sandbox is not a directory", walk->target,
                    walk->name);
    if (!directory && S_ISDIR(st.st_mode))
        return fail(
            err, ERROR_INVALID, EISDIR,
            "bind target %s: the source is a file, but this is a directory in the sandbox",
            walk->target);
    return TAKE_FD(fd);
}

/* Opens the place, making it where it is missing: O_PATH fd or -errno. */
static int open_place(struct walk *walk, bool is_directory, struct error *err)
{
    const char *target = walk->target;
    _cleanup_close_ int dir = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (dir < 0)
        return fail(err, ERROR_SYSTEM, errno, "open the root: ");
    for (const char *p = target + 1; *p;) {
        size_t length = strcspn(p, "/");
        bool last = p[length] == '\0';
        if (length == 0 || length > NAME_MAX)
            return fail(err, ERROR_INVALID, EINVAL, "bind target %s: bad path", target);
        memcpy(walk->name, p, length);
        walk->name[length] = '\0';
        walk->dir = dir;
        walk->reached = (size_t)(p - target) - 1;
        int next = open_component(walk, !last || is_directory, err);
        if (next < 0)
            return next;
        fd_close(dir);
        dir = next;
        p += last ? length : length + 1;
    }
    return TAKE_FD(dir);
}

static struct walk walk_to(const struct place_list *list, const char *target)
{
    struct walk walk = {.target = target};
    for (size_t i = 0; i < list->n; i++) {
        const char *above = list->places[i].path;
        if (list->places[i].is_bind && place_is_below(target, above) &&
            (!walk.bind || strlen(above) > strlen(walk.bind)))
            walk.bind = above;
    }
    for (size_t i = 0; i < list->n; i++) {
        const char *above = list->places[i].path;
        if (!list->places[i].is_bind && place_is_below(target, above) &&
            (!walk.bind || place_is_below(above, walk.bind)))
            walk.tmpfs = above;
    }
    return walk;
}

static int make_tmpfs(const struct place *place, struct error *err)
{
    char size[24];
    (void)snprintf(size, sizeof(size), "%llu", (unsigned long long)place->size_bytes);
    const char *options[] = {"source", "tmpfs", "mode", "1777", NULL, NULL, NULL};
    if (place->size_bytes > 0) {
        options[4] = "size";
        options[5] = size;
    }
    int mount = mount_new("tmpfs", options, TMPFS_ATTRIBUTES);
    return mount < 0 ? fail(err, ERROR_SYSTEM, mount, "tmpfs at %s: ", place->target) : mount;
}

static int mount_one(const struct place_list *list, const struct place *place,
                     struct error *err)
{
    _cleanup_close_ int tmpfs = place->is_bind ? -EBADF : make_tmpfs(place, err);
    if (!place->is_bind && tmpfs < 0)
        return tmpfs;
    struct walk walk = walk_to(list, place->path);
    _cleanup_close_ int at = open_place(&walk, place->is_directory, err);
    int r = at < 0 ? at : mount_attach(place->is_bind ? place->mount_fd : tmpfs, at);
    if (at >= 0 && r < 0)
        r = fail(err, ERROR_SYSTEM, r, "mount at %s: ", place->path);
    return r < 0 && !streq(place->path, place->target)
               ? error_prefix(err, r, "%.200s leads elsewhere: ", place->target)
               : r;
}

/* Parents first. */
static int mount_by_depth(const struct place_list *list, struct error *err)
{
    size_t left = list->n;
    for (unsigned depth = 1; left > 0; depth++)
        for (size_t i = 0; i < list->n; i++) {
            if (start_depth(list->places[i].path) != depth)
                continue;
            int r = mount_one(list, &list->places[i], err);
            if (r < 0)
                return r;
            left--;
        }
    return 0;
}

static void fill(struct place_list *list, const struct start *start, const int *mounts)
{
    list->private_directory = start->private_directory;
    list->engine = &start->engine;
    for (uint32_t i = 0; i < start->n_binds; i++)
        list->places[list->n++] = (struct place){
            .target = start->binds[i].target,
            .is_bind = true,
            .is_read_only = start->binds[i].read_only,
            .is_directory = start->binds[i].is_directory,
            .mount_fd = mounts[i],
        };
    for (uint32_t i = 0; i < start->n_tmpfs; i++)
        list->places[list->n++] = (struct place){
            .target = start->tmpfs[i].target,
            .is_directory = true,
            .mount_fd = -EBADF,
            .size_bytes = start->tmpfs[i].size_bytes,
        };
    for (size_t i = 0; i < list->n; i++)
        list->places[i].path = list->places[i].target;
}

static void clear(struct place_list *list)
{
    for (size_t i = 0; i < list->n; i++)
        freep(&list->places[i].resolved);
}

int init_mount_all(const struct start *start, const int *mounts, struct error *err)
{
    _cleanup_(clear) struct place_list list = {0};
    fill(&list, start, mounts);
    int r = list.n > 0 ? places_resolve(&list, err) : 0;
    if (r == 0)
        r = mount_by_depth(&list, err);
    /* places are made in it, so that it becomes read-only behind them */
    if (r < 0 || !(start->flags & START_READ_ONLY))
        return r;
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    r = root < 0 ? -errno : mount_set_attributes(root, false, MOUNT_ATTR_RDONLY, 0, -EBADF);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "make the root read-only: ") : 0;
}
