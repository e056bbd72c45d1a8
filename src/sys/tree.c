/* SPDX-License-Identifier: Apache-2.0 */
/* Directory trees. Runs in isolated as root over what sandboxes left: names, depth and types
 * are hostile. Nothing is followed, nothing is executed; only link counts and names matter. */
#include "sys/tree.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static bool is_dot(const char *name)
{
    return streq(name, ".") || streq(name, "..");
}

/* So many levels are gone down, an open directory each. */
#define REMOVE_LEVELS_MAX 64

/* Somebody may hold an fd of a directory and make entries as fast as they are removed. So many
 * go without being counted before; then there are rounds, in each of which as many may go as
 * are there when it begins. */
#define REMOVE_FREE     4096
#define REMOVE_SYNCS    3 /* of a full disk */
#define REMOVE_ROUNDS   4
/* Counting does not see what is very deep: so many directories may be moved up, each of which
 * allows for as many levels again. */
#define REMOVE_DEEP_MAX 16384

struct removal {
    int top;         /* the directory that is to go, with all that is below */
    uint64_t serial; /* of names for what is moved up into it */
    uint64_t removed;
    uint64_t left; /* so many entries may still be looked at in this round */
    unsigned rounds;
    unsigned deep;
    uint64_t end_ms; /* or 0 */
};

/* A time bounds it without counting, which would take long itself. */
static int removal_goes_on(struct removal *removal)
{
    uint64_t bytes = 0;
    uint64_t entries = 0;
    if (removal->end_ms > 0)
        return time_now_ms() < removal->end_ms ? 0 : -EAGAIN;
    if (removal->left == 0 && removal->rounds > 0) {
        removal->rounds--;
        (void)!tree_usage(removal->top, &bytes, &entries);
        removal->left = entries > REMOVE_FREE ? entries : REMOVE_FREE;
    }
    if (removal->left == 0)
        return -EBUSY;
    removal->left--;
    return 0;
}

/* Moves a directory up into the top under a new name, to be met again as its child; one may be
 * left from an interrupted run. */
static int move_up(struct removal *removal, int dir_fd, const char *name)
{
    char up[48];
    int r = 0;
    do {
        (void)snprintf(up, sizeof(up), ".removing-%llu", (unsigned long long)removal->serial++);
        r = renameat(dir_fd, name, removal->top, up) < 0 ? -errno : 0;
    } while (r == -ENOTEMPTY || r == -EEXIST || r == -ENOTDIR);
    if (r == 0 && removal->deep++ < REMOVE_DEEP_MAX)
        removal->left += 2 * (uint64_t)REMOVE_LEVELS_MAX;
    return r == -ENOENT ? 0 : r;
}

/* Opens a directory even where its mode denies it. */
static int dir_open_any_mode(int dir_fd, const char *name)
{
    int fd = dir_open_at(dir_fd, name);
    if (fd != -EACCES)
        return fd;
    /* by an fd: the name may mean a symlink by now */
    _cleanup_close_ int found =
        openat(dir_fd, name, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (found < 0 || chmod(fd_path(found).text, 0700) < 0)
        return -errno;
    return dir_open_at(dir_fd, name);
}

static int directory_remove(struct removal *removal, int dir_fd, const char *name,
                            unsigned level);

static int entry_remove(struct removal *removal, int dir_fd, const char *name, unsigned level)
{
    removal->removed++;
    if (unlinkat(dir_fd, name, 0) == 0 || errno == ENOENT)
        return 0;
    int e = errno;
    if ((e == EISDIR || e == EPERM) &&
        (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT))
        return 0;
    removal->removed--;
    if (errno == ENOTEMPTY || errno == EEXIST)
        return directory_remove(removal, dir_fd, name, level);
    return -(errno == ENOTDIR ? e : errno);
}

static int dir_empty(struct removal *removal, int take_fd, unsigned level)
{
    _cleanup_closedir_ DIR *dir = dir_stream(take_fd);
    if (!dir)
        return -errno;
    int r = 0;
    struct dirent *entry = NULL;
    while ((entry = readdir(dir))) {
        if (is_dot(entry->d_name))
            continue;
        int goes_on = removal_goes_on(removal);
        int one = goes_on < 0 ? goes_on : entry_remove(removal, take_fd, entry->d_name, level);
        if (goes_on < 0 || one == -EAGAIN) /* more than what cannot go is left */
            return one;
        r = r < 0 ? r : one;
    }
    return r;
}

/* Depth first, which needs no space on a full disk; only what is too deep is moved up, so that
 * the walk uses few fds however deep the tree is. The top is gone through again until nothing
 * is left in it. */
static int directory_remove(struct removal *removal, int dir_fd, const char *name,
                            unsigned level)
{
    for (unsigned syncs = 0;;) {
        uint64_t before = removal->removed;
        int fd = level < REMOVE_LEVELS_MAX ? dir_open_any_mode(dir_fd, name) : -EMFILE;
        if (fd == -ENOENT)
            return 0;
        if ((fd == -EMFILE || fd == -ENFILE) && level > 1)
            return move_up(removal, dir_fd, name);
        int r = fd < 0 ? fd : dir_empty(removal, fd, level + 1);
        /* what did go has made room, some of it only when the journal is written */
        if (r == -ENOSPC && level == 0 &&
            (removal->removed > before ||
             (syncs++ < REMOVE_SYNCS && syncfs(removal->top) == 0)))
            continue;
        if (r < 0)
            return r;
        if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
            return 0;
        if (errno != ENOTEMPTY && errno != EEXIST)
            return -errno;
        /* something came in meanwhile, or was moved up */
        r = removal_goes_on(removal);
        if (r < 0)
            return r;
    }
}

int tree_remove(int dir_fd, const char *name)
{
    return tree_remove_until(dir_fd, name, 0);
}

int tree_remove_until(int dir_fd, const char *name, uint64_t end_ms)
{
    if (unlinkat(dir_fd, name, AT_REMOVEDIR) == 0 || errno == ENOENT)
        return 0;
    if (errno == ENOTDIR)
        return unlinkat(dir_fd, name, 0) < 0 && errno != ENOENT ? -errno : 0;
    if (errno != ENOTEMPTY && errno != EEXIST)
        return -errno;
    _cleanup_close_ int top = dir_open_any_mode(dir_fd, name);
    if (top < 0)
        return top == -ENOENT ? 0 : top;
    struct removal removal = {
        .top = top, .left = REMOVE_FREE, .rounds = REMOVE_ROUNDS, .end_ms = end_ms};
    return directory_remove(&removal, dir_fd, name, 0);
}

/* Below this many levels only somebody who wants to use up our fds goes. */
#define USAGE_DEPTH_MAX   200
/* Nor does anybody else make so many; they may be made faster than they are counted. */
#define USAGE_ENTRIES_MAX (1U << 24)

static int usage_of(int dir_fd, unsigned depth, uint64_t *ret_bytes, uint64_t *ret_entries)
{
    int fd = dir_open_at(dir_fd, ".");
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (fd < 0 || !dir)
        return -errno;
    struct dirent *entry = NULL;
    while (*ret_entries < USAGE_ENTRIES_MAX && (entry = readdir(dir))) {
        struct stat st;
        if (is_dot(entry->d_name))
            continue;
        (*ret_entries)++;
        if (fstatat(fd, entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        *ret_bytes += (uint64_t)st.st_blocks * 512;
        if (!S_ISDIR(st.st_mode) || depth >= USAGE_DEPTH_MAX)
            continue;
        _cleanup_close_ int child = dir_open_at(fd, entry->d_name);
        int r = child < 0 ? child : usage_of(child, depth + 1, ret_bytes, ret_entries);
        /* not for want of what it is, but of what we have */
        if (r == -EMFILE || r == -ENFILE || r == -ENOMEM)
            return r;
    }
    return 0;
}

int tree_usage(int dir_fd, uint64_t *ret_bytes, uint64_t *ret_entries)
{
    return usage_of(dir_fd, 0, ret_bytes, ret_entries);
}
