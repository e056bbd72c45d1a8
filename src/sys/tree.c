/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees. Runs in isolated as root over what sandboxes left: names, depth and types
 * are hostile. Nothing is followed, nothing is executed; only link counts and names matter. */
#include "sys/tree.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool is_dot(const char *name)
{
    return streq(name, ".") || streq(name, "..");
}

static DIR *dir_stream(int take_fd)
{
    DIR *dir = fdopendir(take_fd);
    if (!dir)
        fd_close(take_fd);
    return dir;
}

/* Moves a directory up into top under a new name; one may be left from an interrupted run. */
static int move_up(int dir_fd, const char *name, int top, uint64_t *serial)
{
    char up[48];
    int r = 0;
    do {
        (void)snprintf(up, sizeof(up), ".removing-%llu", (unsigned long long)(*serial)++);
        r = renameat(dir_fd, name, top, up) < 0 ? -errno : 0;
    } while (r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR);
    return r;
}

/* Empties one directory. Sub-directories are first moved up into `top`, so that the walk is as
 * deep as one level, however deep the tree is: *moved tells how many were. */
static int dir_empty(int top, int dir_fd, bool is_top, uint64_t *serial, uint64_t *moved)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_fd);
    if (!dir)
        return -errno;
    int r = 0;
    struct dirent *entry = NULL;
    while ((entry = readdir(dir))) {
        if (is_dot(entry->d_name))
            continue;
        if (unlinkat(dirfd(dir), entry->d_name, 0) == 0 || errno == ENOENT)
            continue;
        int e = errno;
        if ((e == EISDIR || e == EPERM) &&
            unlinkat(dirfd(dir), entry->d_name, AT_REMOVEDIR) == 0)
            continue;
        if (errno != ENOTEMPTY && errno != EEXIST) {
            r = r < 0 ? r : -(errno == ENOTDIR ? e : errno);
            continue;
        }
        if (is_top) {
            (*moved)++;
            continue;
        }
        int moving = move_up(dirfd(dir), entry->d_name, top, serial);
        if (moving < 0)
            r = r < 0 ? r : moving;
        else
            (*moved)++;
    }
    return r;
}

/* One pass over the directories directly below top: each is emptied upwards and removed. */
static int remove_level(int top, uint64_t *serial, uint64_t *moved)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(top, "."));
    if (!dir)
        return -errno;
    int r = 0;
    struct dirent *entry = NULL;
    while ((entry = readdir(dir))) {
        if (is_dot(entry->d_name))
            continue;
        int child = dir_open_at(top, entry->d_name);
        if (child == -EACCES && fchmodat(top, entry->d_name, 0700, 0) == 0)
            child = dir_open_at(top, entry->d_name);
        int one = child < 0 ? child : dir_empty(top, child, false, serial, moved);
        if (one < 0 || unlinkat(top, entry->d_name, AT_REMOVEDIR) < 0)
            r = r < 0 ? r : (one < 0 ? one : -errno);
    }
    return r;
}

int tree_remove(int dir_fd, const char *name)
{
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTDIR)
        return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    _cleanup_close_ int top = dir_open_at(dir_fd, name);
    if (top < 0)
        return top;
    uint64_t serial = 0;
    uint64_t moved = 0;
    int copy = dir_open_at(top, ".");
    int r = copy < 0 ? copy : dir_empty(top, copy, true, &serial, &moved);
    while (r == 0 && moved > 0) {
        moved = 0;
        r = remove_level(top, &serial, &moved);
    }
    if (r < 0)
        return r;
    return unlinkat(dir_fd, name, AT_REMOVEDIR) < 0 && errno != ENOENT ? -errno : 0;
}

/* Below this many levels only somebody who wants to use up our fds goes. */
#define USAGE_DEPTH_MAX 200

static int usage_of(int dir_fd, unsigned depth, uint64_t *ret_bytes, uint64_t *ret_entries)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, "."));
    if (!dir)
        return -errno;
    struct dirent *entry = NULL;
    while ((entry = readdir(dir))) {
        struct stat st;
        if (is_dot(entry->d_name))
            continue;
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        *ret_bytes += (uint64_t)st.st_blocks * 512;
        (*ret_entries)++;
        if (!S_ISDIR(st.st_mode) || depth >= USAGE_DEPTH_MAX)
            continue;
        _cleanup_close_ int child = dir_open_at(dirfd(dir), entry->d_name);
        if (child < 0)
            continue;
        int r = usage_of(child, depth + 1, ret_bytes, ret_entries);
        if (r == -EMFILE || r == -ENOMEM)
            return r;
    }
    return 0;
}

int tree_usage(int dir_fd, uint64_t *ret_bytes, uint64_t *ret_entries)
{
    return usage_of(dir_fd, 0, ret_bytes, ret_entries);
}
