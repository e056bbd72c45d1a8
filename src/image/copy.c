/* SPDX-License-Identifier: Apache-2.0 */
/* The copier of trees. Runs in isolate-image as root; the source is hostile as to names, types
 * and depth, and may change meanwhile. The target is reached only through directories that the
 * copier itself has made and holds open. */
#include "base/log.h"
#include "base/text.h"
#include "image/beneath.h"
#include "image/image.h"
#include "image/links.h"
#include "image/progress.h"
#include "image/reading.h"
#include "sys/copy_content.h"
#include "sys/fd.h"
#include "sys/walk.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <string.h>

struct copy {
    int target_fd;
    struct stat target;
    struct dir_stack made; /* the target's directories, level with those of the walk */
    struct links links;
    struct copy_methods methods;
    struct progress *progress;
    bool warned;
};

static void copy_clear(struct copy *copy)
{
    links_clear(&copy->links);
    dir_stack_clear(&copy->made);
}

static int write_failed(const struct copy *copy, const struct walk_entry *entry, int errnum,
                        struct error *err)
{
    uint64_t bytes = S_ISREG(entry->mode) ? entry->size : 0;
    return beneath_write_failed(copy->target_fd, errnum, *entry->path ? entry->path : ".",
                                bytes, err);
}

static int xattr_failed(const struct copy *copy, const struct walk_entry *entry, int errnum,
                        const char *name, struct error *err)
{
    if (errnum == -EOPNOTSUPP)
        return fail(
            err, ERROR_UNSUPPORTED, EOPNOTSUPP,
            "\"%.200s\" has the attribute %.100s, which the storage's file system cannot "
            "keep; use another storage, or remove it with setfattr -x",
            *entry->path ? entry->path : ".", name);
    return error_prefix(err, write_failed(copy, entry, errnum, err),
                        "attribute %.100s: ", name);
}

/* Owner, mode, attributes and times, in this order: a change of owner takes away set-id bits
 * and capabilities. in_fd < 0: the entry has no content, and is `name` in its directories. */
static int copy_attributes(const struct copy *copy, const struct walk_entry *entry, int in_fd,
                           int out_fd, struct error *err)
{
    const struct timespec times[2] = {entry->accessed, entry->modified};
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    const char *name = out_fd >= 0 ? "" : entry->name;
    int at = out_fd >= 0 ? out_fd : dir_stack_top(&copy->made);
    int flags = out_fd >= 0 ? AT_EMPTY_PATH : AT_SYMLINK_NOFOLLOW;
    const char *failed = NULL;
    if (in_fd < 0 && fchdir(entry->parent_fd) < 0)
        return read_failed(entry, errno, err);
    int r = xattrs_read(in_fd, entry->name, &xattrs);
    if (r < 0)
        return read_failed(entry, r, err);
    if (fchownat(at, name, entry->uid, entry->gid, flags) < 0)
        return write_failed(copy, entry, errno, err);
    /* nobody else reaches the new tree: a node made here cannot have become a symlink */
    if (out_fd >= 0 ? fchmod(out_fd, entry->mode & 07777) < 0
                    : !S_ISLNK(entry->mode) && fchmodat(at, name, entry->mode & 07777, 0) < 0)
        return write_failed(copy, entry, errno, err);
    if (out_fd < 0 && xattrs.n > 0 && fchdir(at) < 0)
        return write_failed(copy, entry, errno, err);
    r = xattrs_write(out_fd, entry->name, &xattrs, &failed);
    if (r < 0)
        return xattr_failed(copy, entry, r, failed, err);
    r = out_fd >= 0 ? futimens(out_fd, times) : utimensat(at, name, times, AT_SYMLINK_NOFOLLOW);
    return r < 0 ? write_failed(copy, entry, errno, err) : 0;
}

static int copy_regular(struct copy *copy, const struct walk_entry *entry, struct error *err)
{
    bool reading = false;
    _cleanup_close_ int in = openat(entry->parent_fd, entry->name,
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    if (in < 0)
        return errno == ENOENT ? 0 : read_failed(entry, errno, err);
    _cleanup_close_ int out =
        openat(dir_stack_top(&copy->made), entry->name,
               O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (out < 0)
        return write_failed(copy, entry, errno, err);
    uint64_t size = entry->is_mount_point ? 0 : entry->size;
    int r = copy_content(in, out, size, &copy->methods, &reading);
    if (r == -ENODATA)
        return fail(
            err, ERROR_BUSY, EBUSY,
            "\"%.300s\" became shorter while it was copied; stop what writes to it, or copy "
            "a snapshot",
            entry->path);
    if (r < 0)
        return reading ? read_failed(entry, r, err) : write_failed(copy, entry, r, err);
    return copy_attributes(copy, entry, in, out, err);
}

static int copy_special(struct copy *copy, const struct walk_entry *entry, struct error *err)
{
    int at = dir_stack_top(&copy->made);
    int r = 0;
    if (S_ISLNK(entry->mode)) {
        char target[PATH_MAX];
        ssize_t n = readlinkat(entry->parent_fd, entry->name, target, sizeof(target) - 1);
        if (n < 0)
            return errno == ENOENT ? 0 : read_failed(entry, errno, err);
        target[n] = '\0';
        r = symlinkat(target, at, entry->name);
    } else {
        r = mknodat(at, entry->name, (entry->mode & S_IFMT) | 0600, entry->rdev);
    }
    if (r < 0)
        return write_failed(copy, entry, errno, err);
    return copy_attributes(copy, entry, -EBADF, -EBADF, err);
}

/* 1 where the entry has become a link of an earlier one, 0 where it is to be made, -errno. */
static int copy_link(struct copy *copy, const struct walk_entry *entry, struct error *err)
{
    const char *first = NULL;
    int r = links_first(&copy->links, entry, &first);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "copy \"%.300s\": ", entry->path);
    if (!first)
        return 0;
    const char *name = NULL;
    _cleanup_close_ int at = beneath_open_parent(copy->target_fd, first, &name);
    if (at < 0)
        return write_failed(copy, entry, at, err);
    if (linkat(at, name, dir_stack_top(&copy->made), entry->name, 0) == 0)
        return 1;
    /* the first one vanished before it was copied, or has as many links as the storage takes */
    return errno == ENOENT || errno == EMLINK ? 0 : write_failed(copy, entry, errno, err);
}

static void warn_mount_point(struct copy *copy, const struct walk_entry *entry)
{
    if (copy->warned)
        return;
    copy->warned = true;
    progress_clear(copy->progress);
    log_warning(
        "copy: \"%.300s\" is a mount point: what is mounted inside the source is left out",
        entry->path);
}

static int copy_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct copy *copy = data;
    if (S_ISSOCK(entry->mode))
        return 0;
    progress_add(copy->progress, 1, 0);
    if (entry->is_mount_point) {
        warn_mount_point(copy, entry);
        return S_ISREG(entry->mode) ? copy_regular(copy, entry, err) : 0;
    }
    if (entry->links > 1) {
        int r = copy_link(copy, entry, err);
        if (r != 0)
            return r < 0 ? r : 0;
    }
    return S_ISREG(entry->mode) ? copy_regular(copy, entry, err)
                                : copy_special(copy, entry, err);
}

static int copy_enter(void *data, const struct walk_entry *entry, int directory_fd,
                      struct error *err)
{
    struct copy *copy = data;
    struct stat st;
    progress_add(copy->progress, 1, 0);
    if (fstat(directory_fd, &st) < 0)
        return read_failed(entry, errno, err);
    if (st.st_dev == copy->target.st_dev && st.st_ino == copy->target.st_ino)
        return fail(
            err, ERROR_INVALID, ELOOP,
            "the source contains the place it is copied to (\"%.300s\"); choose another "
            "source or storage",
            *entry->path ? entry->path : ".");
    if (entry->is_mount_point)
        warn_mount_point(copy, entry);
    bool is_root = !*entry->path;
    int at = is_root ? copy->target_fd : dir_stack_top(&copy->made);
    if (!is_root && mkdirat(at, entry->name, 0700) < 0)
        return write_failed(copy, entry, errno, err);
    int fd = dir_open_at(at, is_root ? "." : entry->name);
    if (fd < 0)
        return write_failed(copy, entry, fd, err);
    if (is_root) /* what is made below must not inherit an ACL */
        xattrs_remove_others(fd, &(struct xattrs){0});
    int r = dir_stack_push(&copy->made, fd);
    return r < 0 ? write_failed(copy, entry, r, err) : 0;
}

static int copy_leave(void *data, const struct walk_entry *entry, int directory_fd,
                      struct error *err)
{
    struct copy *copy = data;
    int r = copy_attributes(copy, entry, directory_fd, dir_stack_top(&copy->made), err);
    if (r < 0)
        return r;
    r = dir_stack_pop(&copy->made);
    return r < 0 ? write_failed(copy, entry, r, err) : 0;
}

/* Before anything is written: the target must not lie below the source. Where it is a detached
 * mount, ".." ends at its root; the walk looks again. */
static int check_outside(int source_fd, int target_fd, struct error *err)
{
    struct stat source;
    struct stat st;
    struct stat last = {0};
    _cleanup_close_ int fd = dir_open_at(target_fd, ".");
    if (fd < 0 || fstat(source_fd, &source) < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, fd < 0 ? fd : errno, "open the source and the target: ");
    while (st.st_dev != last.st_dev || st.st_ino != last.st_ino) {
        if (st.st_dev == source.st_dev && st.st_ino == source.st_ino)
            return fail(
                err, ERROR_INVALID, ELOOP,
                "the source contains the place it is copied to; choose another source or "
                "storage");
        last = st;
        int up = dir_open_at(fd, "..");
        fd_close(fd);
        fd = up;
        if (fd < 0 || fstat(fd, &st) < 0)
            return 0; /* not reachable: the walk finds out */
    }
    return 0;
}

static void count_bytes(void *data, uint64_t bytes)
{
    progress_add(data, 0, bytes);
}

int image_copy(int source_fd, int target_fd, struct progress *progress, struct error *err)
{
    _cleanup_(copy_clear) struct copy copy = {
        .target_fd = target_fd,
        .progress = progress,
        .methods = {.copied = count_bytes, .data = progress},
    };
    const struct walk_visitor visitor = {copy_entry, copy_enter, copy_leave, &copy};
    _cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = check_outside(source_fd, target_fd, err);
    if (r < 0)
        return r;
    if (fstat(target_fd, &copy.target) < 0)
        return fail(err, ERROR_SYSTEM, errno, "open the target: ");
    r = walk_tree(source_fd, &visitor, err);
    if (cwd >= 0 && fchdir(cwd) < 0 && r == 0)
        r = fail(err, ERROR_SYSTEM, errno, "return to the working directory: ");
    return r;
}
