/* SPDX-License-Identifier: Apache-2.0 */
/* Comparison of entries. Runs in isolated as root over what sandboxes left: names, types, sizes
 * and attributes are hostile. */
#include "storage/compare.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/fiemap.h>
#include <linux/fs.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/sysmacros.h>
#include <sys/xattr.h>

#define RESOLVE_INSIDE                                                                         \
    (RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_XDEV)
#define READ_SIZE 65536

void compare_entry_clear(struct compare_entry *entry)
{
    entry->fd = fd_close(entry->fd);
}

/* flags: of the last directory; those on the way need no more than O_PATH. */
static int open_directory(int root_fd, const char *path, int flags)
{
    _cleanup_close_ int fd = -EBADF;
    if (!*path)
        return open_resolved(root_fd, ".", flags, RESOLVE_INSIDE);
    while (*path) {
        /* a sandbox can make paths longer than PATH_MAX: piece by piece */
        char piece[PATH_MAX];
        size_t length = strlen(++path);
        if (length >= sizeof(piece)) {
            length = sizeof(piece) - 1;
            while (length > 0 && path[length] != '/')
                length--;
        }
        memcpy(piece, path, length);
        piece[length] = '\0';
        int next = open_resolved(fd < 0 ? root_fd : fd, piece,
                                 path[length] ? O_PATH | O_DIRECTORY : flags, RESOLVE_INSIDE);
        if (next < 0)
            return next;
        fd_close(fd);
        fd = next;
        path += length;
    }
    return TAKE_FD(fd);
}

int compare_open_directory(int root_fd, const char *path)
{
    return open_directory(root_fd, path, O_PATH | O_DIRECTORY);
}

int compare_read_directory(int root_fd, const char *path)
{
    return open_directory(root_fd, path, O_RDONLY | O_DIRECTORY);
}

int compare_entry_open(int dir_fd, const char *name, struct compare_entry *ret,
                       bool *ret_whiteout)
{
    _cleanup_compare_entry_ struct compare_entry entry = {.fd = -EBADF};
    if (ret_whiteout)
        *ret_whiteout = false;
    *ret = entry;
    if (dir_fd < 0)
        return 0;
    entry.fd = openat(dir_fd, name, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (entry.fd < 0)
        return errno == ENOENT || errno == ENOTDIR ? 0 : -errno;
    if (fstat(entry.fd, &entry.st) < 0)
        return -errno;
    if (ret_whiteout && S_ISCHR(entry.st.st_mode) && entry.st.st_rdev == makedev(0, 0)) {
        *ret_whiteout = true;
        return 0;
    }
    *ret = entry;
    entry.fd = -EBADF;
    return 0;
}

int compare_xattr_get(int fd, const char *name, char *value, size_t size)
{
    ssize_t n = getxattr(fd_path(fd).text, name, value, size - 1);
    if (n < 0)
        return -errno;
    value[n] = '\0';
    return (int)n;
}

/* The list of names, NUL behind each; its length or -errno. */
static ssize_t xattr_names(int fd, char *names)
{
    ssize_t n = listxattr(fd_path(fd).text, names, XATTR_LIST_MAX);
    if (n < 0)
        return errno == EOPNOTSUPP ? 0 : -errno;
    return n;
}

/* What the file system keeps for itself, ids untranslated: an overlay's marks, and XFS's second
 * names for ACLs, which system.posix_acl_* shows translated. */
static bool is_private(const char *name)
{
    return text_after(name, "trusted.overlay.") || text_after(name, "trusted.SGI_ACL_");
}

static const char *next_name(const char *name, const char *names, size_t length)
{
    name = name ? name + strlen(name) + 1 : names;
    while (name < names + length && is_private(name))
        name += strlen(name) + 1;
    return name < names + length ? name : NULL;
}

/* memory: room for two lists of names or two values */
static int xattrs_differ(int a, int b, char *memory)
{
    char *names = memory;
    char *values[2] = {memory + XATTR_LIST_MAX, memory + XATTR_LIST_MAX + XATTR_SIZE_MAX};
    size_t count = 0;
    ssize_t n = xattr_names(b, names);
    if (n < 0)
        return (int)n;
    for (const char *name = next_name(NULL, names, (size_t)n); name;
         name = next_name(name, names, (size_t)n))
        count++;
    n = xattr_names(a, names);
    if (n < 0)
        return (int)n;
    for (const char *name = next_name(NULL, names, (size_t)n); name;
         name = next_name(name, names, (size_t)n)) {
        ssize_t of_a = getxattr(fd_path(a).text, name, values[0], XATTR_SIZE_MAX);
        if (of_a < 0)
            return -errno;
        ssize_t of_b = getxattr(fd_path(b).text, name, values[1], XATTR_SIZE_MAX);
        if (of_b < 0)
            return errno == ENODATA || errno == EOPNOTSUPP ? 1 : -errno;
        if (of_a != of_b || memcmp(values[0], values[1], (size_t)of_a) != 0 || count == 0)
            return 1;
        count--;
    }
    return count > 0;
}

static int links_differ(int a, int b, char *memory)
{
    ssize_t of_a = readlinkat(a, "", memory, PATH_MAX);
    ssize_t of_b = of_a < 0 ? of_a : readlinkat(b, "", memory + PATH_MAX, PATH_MAX);
    if (of_a < 0 || of_b < 0)
        return -errno;
    return of_a != of_b || memcmp(memory, memory + PATH_MAX, (size_t)of_a) != 0;
}

/* Reads until the block is full or the file ends. */
static ssize_t read_block(int fd, char *block)
{
    size_t length = 0;
    while (length < READ_SIZE) {
        ssize_t n = read(fd, block + length, READ_SIZE - length);
        if (n == 0)
            break;
        if (n < 0 && errno != EINTR)
            return -errno;
        if (n > 0)
            length += (size_t)n;
    }
    return (ssize_t)length;
}

#define EXTENTS_MAX 128 /* files in more pieces are read */

union extents {
    struct fiemap map;
    char room[sizeof(struct fiemap) + EXTENTS_MAX * sizeof(struct fiemap_extent)];
};

/* Where the file's content is on the disk; false where that cannot be told: of an extent that
 * is stored in another form (ENCODED: btrfs compresses) any part of it is said to be where all
 * of it is. What is written but not on the disk yet would not be seen: it is synced. */
static bool extents_get(int fd, union extents *ret)
{
    const uint32_t elsewhere = FIEMAP_EXTENT_UNKNOWN | FIEMAP_EXTENT_DELALLOC |
                               FIEMAP_EXTENT_ENCODED | FIEMAP_EXTENT_NOT_ALIGNED |
                               FIEMAP_EXTENT_DATA_INLINE | FIEMAP_EXTENT_UNWRITTEN;
    struct fiemap *map = &ret->map;
    memset(ret, 0, sizeof(*ret));
    map->fm_length = FIEMAP_MAX_OFFSET;
    map->fm_flags = FIEMAP_FLAG_SYNC;
    map->fm_extent_count = EXTENTS_MAX;
    if (ioctl(fd, FS_IOC_FIEMAP, map) < 0)
        return false;
    uint32_t n = map->fm_mapped_extents;
    for (uint32_t i = 0; i < n; i++)
        if (map->fm_extents[i].fe_flags & elsewhere)
            return false;
    return n == 0 || (map->fm_extents[n - 1].fe_flags & FIEMAP_EXTENT_LAST);
}

static bool extents_are_same(int a, int b)
{
    union extents of_a;
    union extents of_b;
    if (!extents_get(a, &of_a) || !extents_get(b, &of_b) ||
        of_a.map.fm_mapped_extents != of_b.map.fm_mapped_extents)
        return false;
    for (uint32_t i = 0; i < of_a.map.fm_mapped_extents; i++) {
        const struct fiemap_extent *x = &of_a.map.fm_extents[i];
        const struct fiemap_extent *y = &of_b.map.fm_extents[i];
        /* both are there, so what they share is never written in place */
        if (x->fe_logical != y->fe_logical || x->fe_physical != y->fe_physical ||
            x->fe_length != y->fe_length)
            return false;
    }
    return true;
}

static int contents_differ(int a, int b, bool is_copy, char *memory)
{
    const int flags = O_RDONLY | O_NOCTTY | O_NONBLOCK | O_NOATIME | O_CLOEXEC;
    _cleanup_close_ int of_a = open(fd_path(a).text, flags);
    _cleanup_close_ int of_b = of_a < 0 ? of_a : open(fd_path(b).text, flags);
    if (of_a < 0 || of_b < 0)
        return -errno;
    if (is_copy && extents_are_same(of_a, of_b))
        return 0;
    for (;;) {
        ssize_t n = read_block(of_a, memory);
        ssize_t m = n < 0 ? n : read_block(of_b, memory + READ_SIZE);
        if (n < 0 || m < 0)
            return (int)(n < 0 ? n : m);
        if (n != m || memcmp(memory, memory + READ_SIZE, (size_t)n) != 0)
            return 1;
        if (n < READ_SIZE)
            return 0;
    }
}

static bool is_same_time(const struct timespec *a, const struct timespec *b)
{
    return a->tv_sec == b->tv_sec && a->tv_nsec == b->tv_nsec;
}

static bool stats_differ(const struct stat *a, const struct stat *b)
{
    if (a->st_mode != b->st_mode || a->st_uid != b->st_uid || a->st_gid != b->st_gid)
        return true;
    if (S_ISCHR(a->st_mode) || S_ISBLK(a->st_mode))
        return a->st_rdev != b->st_rdev;
    return S_ISREG(a->st_mode) &&
           (a->st_size != b->st_size || !is_same_time(&a->st_mtim, &b->st_mtim));
}

bool compare_marks(const struct compare_entry *a, const struct compare_entry *b)
{
    return !is_same_time(&a->st.st_mtim, &b->st.st_mtim) ||
           (!S_ISDIR(a->st.st_mode) && a->st.st_nlink != b->st.st_nlink);
}

/* Where the file system keeps whole seconds (zfs-fuse), a change within the same second leaves
 * the time what it was. */
static bool is_untouched(const struct stat *a, const struct stat *b)
{
    return a->st_ino == b->st_ino && a->st_ctim.tv_nsec != 0 &&
           is_same_time(&a->st_ctim, &b->st_ctim);
}

int compare_entries(const struct compare_entry *a, const struct compare_entry *b, bool is_copy)
{
    if (stats_differ(&a->st, &b->st))
        return 1;
    if (is_copy && is_untouched(&a->st, &b->st))
        return 0;
    _cleanup_free_ char *memory = malloc(XATTR_LIST_MAX + 2 * XATTR_SIZE_MAX);
    if (!memory)
        return -ENOMEM;
    int r = xattrs_differ(a->fd, b->fd, memory);
    if (r == 0 && S_ISLNK(a->st.st_mode))
        r = links_differ(a->fd, b->fd, memory);
    if (r == 0 && S_ISREG(a->st.st_mode))
        r = contents_differ(a->fd, b->fd, is_copy, memory);
    return r;
}
