/* SPDX-License-Identifier: Apache-2.0 */
/* Files that the host provides (resolv.conf, hosts, localtime), written into the clone, which
 * nobody keeps, rather than mounted, so that package scripts can replace them as on any
 * machine. Only where changes to the root persist are they mounted over what is there. Runs as
 * root of the sandbox's user namespace; the tree is hostile: no link is followed. */
#include "base/text.h"
#include "init/init.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

/* Opens the directory of path, -ENOENT where it is not a real directory, and finds the name. */
static int open_parent(const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    char parent[256];
    (void)snprintf(parent, sizeof(parent), "%.*s", (int)(slash - path), path);
    *ret_name = slash + 1;
    int fd = open_resolved(AT_FDCWD, *parent ? parent : "/", O_PATH | O_DIRECTORY,
                           RESOLVE_NO_SYMLINKS);
    return fd == -ELOOP || fd == -ENOTDIR ? -ENOENT : fd;
}

static bool link_is(int dir, const char *name, const char *target)
{
    char now[256];
    ssize_t n = readlinkat(dir, name, now, sizeof(now) - 1);
    if (n < 0)
        return false;
    now[n] = '\0';
    return streq(now, target);
}

/* Of a start before this one: then nothing is written, for which there may be no room. */
static bool file_is(int dir, const char *name, const char *content)
{
    struct stat st;
    _cleanup_buffer_ struct buffer now = {0};
    size_t length = strlen(content);
    _cleanup_close_ int fd = openat(dir, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC);
    return fd >= 0 && fstat(fd, &st) == 0 && S_ISREG(st.st_mode) &&
           st.st_size == (off_t)length && fd_read_all(fd, length, &now) == 0 &&
           now.length == length && /* it may be shorter by now */
           (length == 0 || memcmp(now.data, content, length) == 0);
}

static int write_file(int dir, const char *name, const char *content)
{
    _cleanup_close_ int fd =
        openat(dir, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0644);
    return fd < 0 ? -errno : fd_write_all(fd, content, strlen(content));
}

static int replace(int dir, const char *name, const struct start_file *file)
{
    bool is_there = file->is_symlink
                        ? link_is(dir, name, file->content) || access(file->content, F_OK) < 0
                        : file_is(dir, name, file->content);
    if (is_there)
        return 0;
    if (unlinkat(dir, name, 0) < 0 && errno != ENOENT)
        return -errno;
    if (file->is_symlink)
        return symlinkat(file->content, dir, name) < 0 ? -errno : 0;
    return write_file(dir, name, file->content);
}

/* Over a regular file that is there already; where there is none, nothing is made. */
static int cover(int dir, const char *name, const struct start_file *file)
{
    struct stat st;
    _cleanup_close_ int place = openat(dir, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (file->is_symlink || place < 0 || fstat(place, &st) < 0 || !S_ISREG(st.st_mode))
        return 0;
    const char *const options[] = {"source", "tmpfs", "mode", "0755", "size", "64k", NULL};
    _cleanup_close_ int tmpfs =
        mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    if (tmpfs < 0)
        return tmpfs;
    /* a file can be bound only from a mount that is attached: /run is ours and still empty */
    _cleanup_close_ int run = open("/run", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = run < 0 ? -errno : mount_attach(tmpfs, run);
    if (r == 0)
        r = write_file(tmpfs, name, file->content);
    _cleanup_close_ int copy = r < 0 ? r : mount_open_tree(tmpfs, name, false);
    if (r == 0)
        r = copy < 0 ? copy : mount_attach(copy, place);
    int detached = mount_detach("/run");
    return r < 0 ? r : detached;
}

int init_provide(const struct start *start, bool by_mount, struct error *err)
{
    for (uint32_t i = 0; i < start->n_files; i++) {
        const struct start_file *file = &start->files[i];
        const char *name = NULL;
        _cleanup_close_ int dir = open_parent(file->path, &name);
        if (dir == -ENOENT)
            continue;
        int r = dir;
        if (r >= 0)
            r = by_mount ? cover(dir, name, file) : replace(dir, name, file);
        /* a full clone is started to make room in it */
        if (r < 0 && r != -ENOSPC && r != -EDQUOT)
            return fail(err, ERROR_SYSTEM, r, "provide %s: ", file->path);
    }
    return 0;
}
