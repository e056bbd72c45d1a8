/* SPDX-License-Identifier: Apache-2.0 */
/* Names below a directory. Runs in isolate-image as root, before and after its chroot; paths
 * come from hostile archives and trees. openat2(2), kernel 5.6. */
#include "image/beneath.h"

#include "base/text.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/statvfs.h>

#define RESOLVE_CONFINED                                                                       \
    (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)

int beneath_normalize(const char *path, char *out, struct error *err)
{
    size_t depth = 0;
    size_t length = 0;
    const char *p = path;
    if (*p == '/')
        return fail(err, ERROR_DENIED, EPERM, "its name is absolute");
    while (*p) {
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.')
            return fail(err, ERROR_DENIED, EPERM, "its name contains \"..\"");
        if (n > NAME_MAX)
            return fail(err, ERROR_INVALID, ENAMETOOLONG, "a name has more than 255 bytes");
        if (n > 0 && !(n == 1 && p[0] == '.')) {
            if (++depth > BENEATH_DEPTH_MAX)
                return fail(err, ERROR_INVALID, ENAMETOOLONG,
                            "it is more than %d directories deep", BENEATH_DEPTH_MAX);
            if (length > 0)
                out[length++] = '/';
            memmove(out + length, p, n);
            length += n;
        }
        p += n;
        p += strspn(p, "/");
    }
    out[length] = '\0';
    return 0;
}

/* Opens the first `length` bytes of path. The kernel takes paths below PATH_MAX only: longer
 * ones go in steps. */
static int open_prefix(int root_fd, const char *path, size_t length)
{
    _cleanup_close_ int fd = -EBADF;
    char step[PATH_MAX];
    int flags = O_PATH | O_DIRECTORY | O_NOFOLLOW;
    if (length == 0)
        return open_resolved(root_fd, ".", flags, RESOLVE_CONFINED);
    while (length > 0) {
        size_t n = length;
        if (n >= sizeof(step)) {
            n = sizeof(step) - 1;
            while (n > 0 && path[n] != '/')
                n--;
            if (n == 0)
                return -ENAMETOOLONG;
        }
        memcpy(step, path, n);
        step[n] = '\0';
        int next = open_resolved(fd < 0 ? root_fd : fd, step, flags, RESOLVE_CONFINED);
        if (next < 0)
            return next;
        fd_close(fd);
        fd = next;
        path += n;
        length -= n;
        if (length > 0) {
            path++;
            length--;
        }
    }
    return TAKE_FD(fd);
}

int beneath_open(int root_fd, const char *path)
{
    return open_prefix(root_fd, path, strlen(path));
}

int beneath_open_inside(int root_fd, const char *path)
{
    return open_resolved(root_fd, *path ? path : ".", O_PATH | O_DIRECTORY,
                         RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV);
}

int beneath_open_parent(int root_fd, const char *path, const char **ret_name)
{
    const char *slash = strrchr(path, '/');
    int fd = open_prefix(root_fd, path, slash ? (size_t)(slash - path) : 0);
    if (fd >= 0)
        *ret_name = slash ? slash + 1 : path;
    return fd;
}

int beneath_write_failed(int fd, int errnum, const char *path, uint64_t bytes,
                         struct error *err)
{
    struct statvfs vfs;
    if (errnum < 0)
        errnum = -errnum;
    if ((errnum != ENOSPC && errnum != EDQUOT) || fstatvfs(fd, &vfs) < 0)
        return fail(err, ERROR_SYSTEM, errnum, "write \"%.200s\": ", path);
    unsigned long long available = (unsigned long long)vfs.f_bavail * vfs.f_frsize;
    if (errnum == EDQUOT)
        return fail(err, ERROR_NO_SPACE, errnum,
                    "the disk quota is used up at \"%.200s\" (%llu bytes)", path,
                    (unsigned long long)bytes);
    if (vfs.f_files > 0 && vfs.f_ffree == 0)
        return fail(err, ERROR_NO_SPACE, errnum,
                    "no inode is free for \"%.200s\" on the storage's file system", path);
    return fail(err, ERROR_NO_SPACE, errnum,
                "the disk is full at \"%.200s\": %llu bytes are needed for it, %llu are free",
                path, (unsigned long long)bytes, available);
}
