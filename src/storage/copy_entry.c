/* SPDX-License-Identifier: Apache-2.0 */
/* Single entries. Runs in isolated as root over generations and over what sandboxes left. */
#include "storage/copy_entry.h"

#include "sys/copy_content.h"
#include "sys/fd.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <limits.h>
#include <sys/stat.h>
#include <sys/xattr.h>

static bool needs_owner(const struct copy_place *place, const struct stat *st)
{
    return place->may_inherit || st->st_uid != place->first_id || st->st_gid != place->first_id;
}

/* Copies what a fresh file of root's does not have yet, of an open file. Owner before mode
 * before attributes: a change of owner takes away set-id bits and capabilities. */
static int copy_open_attributes(const struct copy_place *place, int in, int out,
                                const struct stat *st, mode_t has_mode)
{
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    const char *failed = NULL;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = xattrs_read(in, NULL, &xattrs);
    if (r == 0)
        r = xattrs_shift_ids(&xattrs, -place->first_id);
    if (r < 0)
        return r;
    if (place->may_inherit)
        xattrs_remove_others(out, &xattrs);
    if (needs_owner(place, st) &&
        fchown(out, st->st_uid - place->first_id, st->st_gid - place->first_id) < 0)
        return -errno;
    if ((place->may_inherit || (st->st_mode & 07777) != has_mode) &&
        fchmod(out, st->st_mode & 07777) < 0)
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
    return copy_open_attributes(place, in, out, st, mode);
}

static int copy_regular(const struct copy_place *place, const char *name, const char *as,
                        nlink_t max_links)
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
    return st.st_nlink > max_links ? 1 : copy_file(place, as, in, &st);
}

static int make_special(const struct copy_place *place, const char *name, const char *as,
                        const struct stat *st)
{
    char target[PATH_MAX];
    if (!S_ISLNK(st->st_mode))
        return mknodat(place->to, as, (st->st_mode & S_IFMT) | 0600, st->st_rdev) < 0 ? -errno
                                                                                      : 0;
    ssize_t n = readlinkat(place->from, name, target, sizeof(target) - 1);
    if (n < 0)
        return -errno;
    target[n] = '\0';
    return symlinkat(target, place->to, as) < 0 ? -errno : 0;
}

/* Of what cannot be opened: by the path of its O_PATH fd. */
static int set_special_attributes(const struct copy_place *place, int entry,
                                  const struct stat *st, const struct xattrs *xattrs)
{
    const struct fd_path path = fd_path(entry);
    const struct timespec times[2] = {st->st_atim, st->st_mtim};
    if (needs_owner(place, st) && fchownat(entry, "", st->st_uid - place->first_id,
                                           st->st_gid - place->first_id, AT_EMPTY_PATH) < 0)
        return -errno;
    if (place->may_inherit)
        (void)removexattr(path.text, "system.posix_acl_access");
    if (!S_ISLNK(st->st_mode) && chmod(path.text, st->st_mode & 07777) < 0)
        return -errno;
    for (size_t i = 0; i < xattrs->n; i++) {
        const struct xattr *x = &xattrs->items[i];
        if (setxattr(path.text, x->name, x->value, x->length, 0) < 0)
            return -errno;
    }
    return utimensat(AT_FDCWD, path.text, times, 0) < 0 ? -errno : 0;
}

/* Somebody else may reach the copy, of a dataset: whatever the name means by now, only what was
 * opened is changed. */
static int copy_special(const struct copy_place *place, const char *name, const char *as,
                        const struct stat *st)
{
    struct stat now;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = make_special(place, name, as, st);
    if (r == 0)
        r = xattrs_read(-EBADF, fd_entry_path(place->from, name).text, &xattrs);
    if (r == 0)
        r = xattrs_shift_ids(&xattrs, -place->first_id);
    if (r < 0)
        return r;
    _cleanup_close_ int entry = openat(place->to, as, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (entry < 0 || fstat(entry, &now) < 0)
        return -errno;
    if ((now.st_mode ^ st->st_mode) & S_IFMT)
        return -ESTALE;
    return set_special_attributes(place, entry, st, &xattrs);
}

int copy_one_as(const struct copy_place *place, const char *name, const char *as,
                const struct stat *st)
{
    return S_ISREG(st->st_mode) ? copy_regular(place, name, as, (nlink_t)-1)
                                : copy_special(place, name, as, st);
}

int copy_one(const struct copy_place *place, const char *name, const struct stat *st)
{
    return copy_one_as(place, name, name, st);
}

int copy_single(const struct copy_place *place, const char *name)
{
    return copy_regular(place, name, name, 1);
}

int copy_directory_attributes(const struct copy_place *place)
{
    struct stat st;
    if (fstat(place->from, &st) < 0)
        return -errno;
    return copy_open_attributes(place, place->from, place->to, &st, 0700);
}
