/* SPDX-License-Identifier: Apache-2.0 */
/* Single entries. Runs in isolated as root over generations and over what sandboxes left. */
#include "storage/copy_entry.h"

#include "sys/copy_content.h"
#include "sys/fd.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>

/* Copies what a fresh file of root's does not have yet, of an open file. Owner before mode
 * before attributes: a change of owner takes away set-id bits and capabilities. */
static int copy_open_attributes(int in, int out, const struct stat *st, mode_t has_mode)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    const char *failed = NULL;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = xattrs_read(in, NULL, &xattrs);
    if (r < 0)
        return r;
    if ((st->st_uid != 0 || st->st_gid != 0) && fchown(out, st->st_uid, st->st_gid) < 0)
        return -errno;
    if ((st->st_mode & 07777) != has_mode && fchmod(out, st->st_mode & 07777) < 0)
        return -errno;
    r = xattrs_write(out, NULL, &xattrs, &failed);
    if (r < 0)
        return r;
    return futimens(out, times) < 0 ? -errno : 0;
}

static int copy_file(const struct copy_place *place, const char *name, int in,
                     const struct stat *st)
{
    bool reading = false;
    struct copy_methods methods = {0};
    mode_t mode = place->no_umask ? st->st_mode & 0777 : 0600;
    _cleanup_close_ int out =
        openat(place->to, name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    if (out < 0)
        return -errno;
    /* an attribute that anybody may set keeps a file from sharing its content: btrfs's +C */
    int r = copy_content(in, out, (uint64_t)st->st_size, &methods, &reading);
    if (r < 0 && r != -ENODATA) /* shorter by now: so is the copy */
        return r;
    return copy_open_attributes(in, out, st, mode);
}

static int copy_regular(const struct copy_place *place, const char *name, nlink_t max_links)
{
    struct stat st;
    _cleanup_close_ int in =
        openat(place->from, name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    if (in < 0)
        return errno == ENOENT ? 0 : -errno;
    if (fstat(in, &st) < 0)
        return -errno;
    if (!S_ISREG(st.st_mode))
        return -ESTALE;
    return st.st_nlink > max_links ? 1 : copy_file(place, name, in, &st);
}

static int make_special(const struct copy_place *place, const char *name, const struct stat *st)
{
    if (!S_ISLNK(st->st_mode))
        return mknodat(place->to, name, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0 ? -errno
                                                                                        : 0;
    char target[PATH_MAX];
    ssize_t n = readlinkat(place->from, name, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    return symlinkat(target, place->to, name) < 0 ? -errno : 0;
}

/* Nobody else reaches the copy: what was made under this name is what it still means. */
static int copy_special(const struct copy_place *place, const char *name, const struct stat *st)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    const char *failed = NULL;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = make_special(place, name, st);
    if (r == 0)
        r = xattrs_read(-EBADF, fd_entry_path(place->from, name).text, &xattrs);
    if (r < 0)
        return r;
    if ((st->st_uid != 0 || st->st_gid != 0) &&
        fchownat(place->to, name, st->st_uid, st->st_gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -errno;
    if (!S_ISLNK(st->st_mode) && fchmodat(place->to, name, st->st_mode & 07777, 0) < 0)
        return -errno;
    r = xattrs_write(-EBADF, fd_entry_path(place->to, name).text, &xattrs, &failed);
    if (r < 0)
        return r;
    return utimensat(place->to, name, times, AT_SYMLINK_NOFOLLOW) < 0 ? -errno : 0;
}

int copy_one(const struct copy_place *place, const char *name, const struct stat *st)
{
    return S_ISREG(st->st_mode) ? copy_regular(place, name, (nlink_t)-1)
                                : copy_special(place, name, st);
}

int copy_single(const struct copy_place *place, const char *name)
{
    return copy_regular(place, name, 1);
}

int copy_directory_attributes(int from_fd, int to_fd)
{
    struct stat st;
    if (fstat(from_fd, &st) < 0)
        return -errno;
    return copy_open_attributes(from_fd, to_fd, &st, 0700);
}
