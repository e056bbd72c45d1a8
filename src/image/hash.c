/* SPDX-License-Identifier: Apache-2.0 */
/* The hash of a tree. Runs in isolate-image as root; the tree is hostile, and what is hashed
 * says nothing about whether it is good, only whether it is the same.
 *
 * The hashed text is a sequence of records, one an entry, in the order of the walk. Numbers are
 * 64 bits, most significant byte first; strings have their length in front, so that no two
 * trees give the same text. A record: path, type letter, mode bits, uid, gid, mtime seconds,
 * mtime nanoseconds, number of attributes, their names and values; for devices major and minor
 * number; for all but directories the number of the first entry that is the same file (0: this
 * one; entries count from 1); for symlinks the target, for regular files that are a first one
 * size and content. */
#include "image/image.h"
#include "image/progress.h"
#include "image/reading.h"
#include "sys/inodes.h"
#include "sys/walk.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <nettle/sha2.h>
#include <string.h>
#include <sys/sysmacros.h>

#define HASH_FORMAT "isolate-tree-1"
#define BLOCK_BYTES (256 * 1024)

struct hash {
    struct sha256_ctx context;
    struct inode_table inodes;
    struct progress *progress;
    uint64_t entries;
    unsigned char *block;
};

static void hash_clear(struct hash *hash)
{
    inode_table_clear(&hash->inodes);
    freep(&hash->block);
}

static void put_number(struct hash *hash, uint64_t number)
{
    uint8_t bytes[8];
    for (size_t i = 0; i < sizeof(bytes); i++)
        bytes[i] = (uint8_t)(number >> (56 - 8 * i));
    sha256_update(&hash->context, sizeof(bytes), bytes);
}

static void put_bytes(struct hash *hash, const void *data, size_t length)
{
    put_number(hash, length);
    sha256_update(&hash->context, length, data);
}

static char type_letter(mode_t mode)
{
    switch (mode & S_IFMT) {
    case S_IFREG:
        return 'f';
    case S_IFDIR:
        return 'd';
    case S_IFLNK:
        return 'l';
    case S_IFCHR:
        return 'c';
    case S_IFBLK:
        return 'b';
    case S_IFIFO:
        return 'p';
    default:
        return '?';
    }
}

/* The part that all types have. fd < 0: the entry is `name` in the working directory. */
static int put_head(struct hash *hash, const struct walk_entry *entry, int fd,
                    struct error *err)
{
    char type = type_letter(entry->mode);
    hash->entries++;
    put_bytes(hash, entry->path, strlen(entry->path));
    sha256_update(&hash->context, 1, (const uint8_t *)&type);
    /* the mode of a symlink means nothing and differs between file systems */
    put_number(hash, S_ISLNK(entry->mode) ? 0 : entry->mode & 07777);
    put_number(hash, entry->uid);
    put_number(hash, entry->gid);
    put_number(hash, (uint64_t)entry->modified.tv_sec);
    put_number(hash, (uint64_t)entry->modified.tv_nsec);
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = xattrs_read(fd, entry->name, &xattrs);
    if (r < 0)
        return read_failed(entry, r, err);
    put_number(hash, xattrs.n);
    for (size_t i = 0; i < xattrs.n; i++) {
        put_bytes(hash, xattrs.items[i].name, strlen(xattrs.items[i].name));
        put_bytes(hash, xattrs.items[i].value, xattrs.items[i].length);
    }
    progress_add(hash->progress, 1, 0);
    return 0;
}

static int put_content(struct hash *hash, const struct walk_entry *entry, int fd,
                       struct error *err)
{
    uint64_t left = entry->is_mount_point ? 0 : entry->size;
    put_number(hash, left);
    while (left > 0) {
        ssize_t n = read(fd, hash->block, left < BLOCK_BYTES ? (size_t)left : BLOCK_BYTES);
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return n < 0 ? read_failed(entry, errno, err) : read_ended(entry, err);
        sha256_update(&hash->context, (size_t)n, hash->block);
        left -= (uint64_t)n;
        progress_add(hash->progress, 0, (uint64_t)n);
        progress_input(hash->progress, (uint64_t)n);
    }
    return 0;
}

/* Which earlier entry this one is a hard link of. */
static int put_first(struct hash *hash, const struct walk_entry *entry, uint64_t *ret_first,
                     struct error *err)
{
    uint64_t first = 0;
    if (entry->links > 1 && !entry->is_mount_point) {
        int r = inode_table_first(&hash->inodes, entry->device, entry->inode, hash->entries,
                                  &first);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "hash \"%.300s\": ", entry->path);
    }
    put_number(hash, first);
    *ret_first = first;
    return 0;
}

static int put_regular(struct hash *hash, const struct walk_entry *entry, struct error *err)
{
    _cleanup_close_ int fd = openat(entry->parent_fd, entry->name,
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    if (fd < 0)
        return read_failed(entry, errno, err);
    int r = put_head(hash, entry, fd, err);
    if (r < 0)
        return r;
    uint64_t first = 0;
    r = put_first(hash, entry, &first, err);
    return r < 0 || first ? r : put_content(hash, entry, fd, err);
}

static int hash_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    struct hash *hash = data;
    if (S_ISSOCK(entry->mode))
        return 0;
    if (S_ISREG(entry->mode))
        return put_regular(hash, entry, err);
    if (fchdir(entry->parent_fd) < 0)
        return read_failed(entry, errno, err);
    int r = put_head(hash, entry, -EBADF, err);
    if (r < 0)
        return r;
    if (S_ISCHR(entry->mode) || S_ISBLK(entry->mode)) {
        put_number(hash, major(entry->rdev));
        put_number(hash, minor(entry->rdev));
    }
    uint64_t first = 0;
    r = put_first(hash, entry, &first, err);
    if (r < 0 || !S_ISLNK(entry->mode))
        return r;
    char target[PATH_MAX];
    ssize_t n = readlinkat(entry->parent_fd, entry->name, target, sizeof(target));
    if (n < 0)
        return read_failed(entry, errno, err);
    put_bytes(hash, target, (size_t)n);
    return 0;
}

static int hash_enter(void *data, const struct walk_entry *entry, int directory_fd,
                      struct error *err)
{
    return put_head(data, entry, directory_fd, err);
}

int image_hash(int root_fd, char ret_hex[static IMAGE_HASH_TEXT], struct progress *progress,
               struct error *err)
{
    _cleanup_(hash_clear) struct hash hash = {.progress = progress,
                                              .block = malloc(BLOCK_BYTES)};
    const struct walk_visitor visitor = {
        .entry = hash_entry, .enter = hash_enter, .data = &hash};
    uint8_t digest[SHA256_DIGEST_SIZE];
    _cleanup_close_ int cwd = open(".", O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (!hash.block)
        return fail(err, ERROR_SYSTEM, ENOMEM, "hash: ");
    sha256_init(&hash.context);
    put_bytes(&hash, HASH_FORMAT, strlen(HASH_FORMAT));
    int r = walk_tree(root_fd, &visitor, err);
    if (cwd >= 0 && fchdir(cwd) < 0 && r == 0)
        r = fail(err, ERROR_SYSTEM, errno, "return to the working directory: ");
    if (r < 0)
        return r;
    sha256_digest(&hash.context, sizeof(digest), digest);
    for (size_t i = 0; i < sizeof(digest); i++)
        (void)snprintf(ret_hex + 2 * i, 3, "%02x", digest[i]);
    return 0;
}
