/* SPDX-License-Identifier: Apache-2.0 */
/* Comparing entries. Runs in isolate-image as root over trees that are hostile and do not
 * change. */
#include "image/same.h"

#include "sys/fd.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <limits.h>
#include <string.h>
#include <unistd.h>

int same_failed(const struct walk_entry *entry, int errnum, struct error *err)
{
    return fail(err, ERROR_SYSTEM, errnum,
                "compare \"%.300s\": ", *entry->path ? entry->path : ".");
}

static bool same_status(const struct walk_entry *entry, const struct stat *base)
{
    bool is_device = S_ISCHR(entry->mode) || S_ISBLK(entry->mode);
    /* the mode of a symlink means nothing */
    mode_t bits = S_ISLNK(entry->mode) ? S_IFMT : S_IFMT | 07777;
    return (entry->mode & bits) == (base->st_mode & bits) && entry->uid == base->st_uid &&
           entry->gid == base->st_gid && entry->modified.tv_sec == base->st_mtim.tv_sec &&
           entry->modified.tv_nsec == base->st_mtim.tv_nsec &&
           (!S_ISREG(entry->mode) || entry->size == (uint64_t)base->st_size) &&
           (!is_device || entry->rdev == base->st_rdev);
}

static bool same_lists(const struct xattrs *a, const struct xattrs *b)
{
    for (size_t i = 0; a->n == b->n && i < a->n; i++)
        if (strcmp(a->items[i].name, b->items[i].name) != 0 ||
            a->items[i].length != b->items[i].length ||
            memcmp(a->items[i].value, b->items[i].value, a->items[i].length) != 0)
            return false;
    return a->n == b->n;
}

/* Where an entry is: an open file, or fd < 0 and `name` in dir_fd. */
struct where {
    int fd;
    int dir_fd;
    const char *name;
};

static int read_xattrs(const struct where *where, struct xattrs *ret)
{
    if (where->fd < 0 && fchdir(where->dir_fd) < 0)
        return -errno;
    return xattrs_read(where->fd, where->name, ret);
}

/* 1, 0 or -errno. */
static int same_xattrs(const struct where *a, const struct where *b)
{
    _cleanup_xattrs_ struct xattrs one = {0};
    _cleanup_xattrs_ struct xattrs two = {0};
    int r = read_xattrs(a, &one);
    if (r == 0)
        r = read_xattrs(b, &two);
    return r < 0 ? r : same_lists(&one, &two);
}

static ssize_t read_block(int fd, char *block, off_t at)
{
    size_t done = 0;
    while (done < SAME_BLOCK) {
        ssize_t n = pread(fd, block + done, SAME_BLOCK - done, at + (off_t)done);
        if (n < 0 && errno == EINTR)
            continue;
        if (n < 0)
            return -errno;
        if (n == 0)
            break;
        done += (size_t)n;
    }
    return (ssize_t)done;
}

static int same_content(int a, int b, struct same_blocks *blocks)
{
    for (off_t at = 0;; at += SAME_BLOCK) {
        ssize_t n = read_block(a, blocks->a, at);
        ssize_t m = n < 0 ? n : read_block(b, blocks->b, at);
        if (m < 0)
            return (int)m;
        if (n != m || memcmp(blocks->a, blocks->b, (size_t)n) != 0)
            return 0;
        if (n < SAME_BLOCK)
            return 1;
    }
}

static int same_target(const struct walk_entry *entry, int base_dir)
{
    char one[PATH_MAX];
    char two[PATH_MAX];
    ssize_t n = readlinkat(entry->parent_fd, entry->name, one, sizeof(one));
    ssize_t m = n < 0 ? n : readlinkat(base_dir, entry->name, two, sizeof(two));
    return m < 0 ? -errno : n == m && memcmp(one, two, (size_t)n) == 0;
}

static int same_regular(const struct walk_entry *entry, int base_dir,
                        struct same_blocks *blocks)
{
    int flags = O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME;
    _cleanup_close_ int a = openat(entry->parent_fd, entry->name, flags);
    _cleanup_close_ int b = a < 0 ? a : openat(base_dir, entry->name, flags);
    if (b < 0)
        return -errno;
    int r = same_xattrs(&(struct where){.fd = a}, &(struct where){.fd = b});
    return r == 1 ? same_content(a, b, blocks) : r;
}

int same_entry(const struct walk_entry *entry, int base_dir, struct same_blocks *blocks,
               bool *ret, struct error *err)
{
    struct stat base;
    *ret = false;
    if (fstatat(base_dir, entry->name, &base, AT_SYMLINK_NOFOLLOW) < 0)
        return errno == ENOENT ? 0 : same_failed(entry, errno, err);
    if (!same_status(entry, &base))
        return 0;
    int r = 0;
    if (S_ISREG(entry->mode)) {
        r = same_regular(entry, base_dir, blocks);
    } else {
        r = same_xattrs(&(struct where){-EBADF, entry->parent_fd, entry->name},
                        &(struct where){-EBADF, base_dir, entry->name});
        if (r == 1 && S_ISLNK(entry->mode))
            r = same_target(entry, base_dir);
    }
    if (r < 0)
        return same_failed(entry, r, err);
    *ret = r == 1;
    return 0;
}

int same_directory(const struct walk_entry *entry, int directory_fd, int base_fd, bool *ret,
                   struct error *err)
{
    struct stat base;
    if (fstat(base_fd, &base) < 0)
        return same_failed(entry, errno, err);
    int r = same_status(entry, &base) ? same_xattrs(&(struct where){.fd = directory_fd},
                                                    &(struct where){.fd = base_fd})
                                      : 0;
    if (r < 0)
        return same_failed(entry, r, err);
    *ret = r == 1;
    return 0;
}
