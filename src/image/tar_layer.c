/* SPDX-License-Identifier: Apache-2.0 */
/* What a layer of an image takes away from those below: ".wh.NAME" stands for NAME being gone,
 * ".wh..wh..opq" for all that its directory has from below (OCI image-spec, layer.md). Neither
 * means anything of the layer's own, in whatever order its entries come. Runs in the confined
 * child as root; names are hostile. */
#include "base/text.h"
#include "image/tar.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

#define NAMES_MAX  1500000 /* of one layer that has others below: 24 MiB */
#define HIDING_MAX 256     /* directories that a layer both has and hides, in each other */

int tar_layer_note(struct tar_target *target, uint64_t directory, const char *name,
                   struct error *err)
{
    if (!target->has_lower)
        return 0;
    if (target->names.n >= NAMES_MAX)
        return fail(err, ERROR_INVALID, E2BIG,
                    "the layer has more than %d entries; only the lowest one may", NAMES_MAX);
    uint64_t key = key_map_name(&target->names, directory, name);
    return key_map_put(&target->names, key, 0) < 0
               ? fail(err, ERROR_SYSTEM, ENOMEM, "note the name: ")
               : 0;
}

int tar_layer_note_way(struct tar_target *target, const char *path, struct error *err)
{
    _cleanup_free_ char *prefix = strdup(path);
    int r = prefix ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "note the name: ");
    for (char *p = prefix; target->has_lower && r == 0 && p && *p;) {
        struct stat st;
        char *slash = strchr(p, '/');
        if (p > prefix)
            p[-1] = '\0';
        if (slash)
            *slash = '\0';
        _cleanup_close_ int at = tar_target_open(target, p > prefix ? prefix : "");
        if (at < 0 || fstat(at, &st) < 0)
            return fail(err, ERROR_SYSTEM, at < 0 ? at : -errno, "open its directory: ");
        r = tar_layer_note(target, st.st_ino, p, err);
        if (p > prefix)
            p[-1] = '/';
        if (slash)
            *slash = '/';
        p = slash ? slash + 1 : NULL;
    }
    return r;
}

static int hide_below(struct tar_target *target, const char *path, int at_fd, unsigned depth,
                      struct error *err);

/* Removes `name` in at_fd, whose path is given, with everything that is not this layer's. */
static int hide(struct tar_target *target, const char *path, int at_fd, const char *name,
                unsigned depth, struct error *err)
{
    struct stat directory;
    struct stat st;
    if (fstat(at_fd, &directory) < 0)
        return fail(err, ERROR_SYSTEM, errno, "look at its directory: ");
    if (!key_map_get(&target->names, key_map_name(&target->names, directory.st_ino, name),
                     NULL)) {
        int r = tree_remove(at_fd, name);
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "remove \"%.100s\" of a layer below: ", name)
                     : 0;
    }
    if (fstatat(at_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0 || !S_ISDIR(st.st_mode))
        return 0;
    _cleanup_free_ char *below = NULL;
    if (asprintf(&below, "%s%s%s", path, *path ? "/" : "", name) < 0) {
        below = NULL;
        return fail(err, ERROR_SYSTEM, ENOMEM, "hide what is below: ");
    }
    _cleanup_close_ int fd = dir_open_at(at_fd, name);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "open \"%.100s\": ", name);
    return hide_below(target, below, fd, depth + 1, err);
}

static int hide_below(struct tar_target *target, const char *path, int at_fd, unsigned depth,
                      struct error *err)
{
    if (depth > HIDING_MAX)
        return fail(err, ERROR_INVALID, ELOOP,
                    "it hides more than %d directories in each other that the layer itself has",
                    HIDING_MAX);
    int r = tar_target_keep_times(target, path, at_fd, err);
    if (r < 0)
        return r;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(at_fd, "."));
    if (!dir)
        return fail(err, ERROR_SYSTEM, errno, "read the directory: ");
    struct dirent *entry = NULL;
    int more = 0;
    while (r == 0 && (more = dir_next(dir, &entry)) > 0)
        r = hide(target, path, at_fd, entry->d_name, depth, err);
    if (r == 0 && more < 0)
        r = fail(err, ERROR_SYSTEM, more, "read the directory: ");
    return r;
}

/* What AUFS kept beside its whiteouts, and no layer means. */
static bool is_aufs(const char *path)
{
    for (const char *p = path; p; p = strchr(p, '/')) {
        p += *p == '/';
        if (text_after(p, ".wh..wh.") && !streq(p, ".wh..wh..opq"))
            return true;
    }
    return false;
}

int tar_layer_whiteout(struct tar_target *target, const char *path, struct error *err)
{
    int at = -EBADF;
    const char *name = NULL;
    const char *slash = strrchr(path, '/');
    const char *hidden = text_after(slash ? slash + 1 : path, ".wh.");
    if (is_aufs(path))
        return 1;
    if (!hidden)
        return 0;
    if (!*hidden || streq(hidden, ".") || streq(hidden, ".."))
        return fail(err, ERROR_INVALID, EINVAL, "it hides nothing that has a name");
    if (!target->has_lower)
        return 1;
    _cleanup_free_ char *parent = strndup(path, slash ? (size_t)(slash - path) : 0);
    if (!parent)
        return fail(err, ERROR_SYSTEM, ENOMEM, "hide what is below: ");
    /* where there is no such directory, there is nothing to hide */
    _cleanup_close_ int there = tar_target_open(target, parent);
    if (there == -ENOENT || there == -ENOTDIR || there == -ELOOP)
        return 1;
    int r = tar_target_parent(target, path, &name, &at, err);
    if (r == 0)
        r = streq(hidden, ".wh..opq") ? hide_below(target, parent, at, 0, err)
                                      : hide(target, parent, at, hidden, 0, err);
    return r < 0 ? r : 1;
}
