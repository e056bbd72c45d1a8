/* SPDX-License-Identifier: Apache-2.0 */
/* See btrfs_apply.h. */
#include "image/btrfs_apply.h"

#include "base/cleanup.h"
#include "base/text.h"
#include "image/beneath.h"
#include "sys/fd.h"
#include "sys/xattrs.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* No extent of btrfs is that long. */
#define CLONE_MAX (UINT64_C(1) << 30)

/* Where a command does something: "." in the root for the root itself. */
struct place {
    char *path; /* normalized */
    const char *name;
    int parent_fd; /* O_PATH */
};

static void place_clear(struct place *place)
{
    fd_close(place->parent_fd);
    free(place->path);
}
#define _cleanup_place_ _cleanup_(place_clear)

static int place_find(const struct btrfs_apply *apply, const struct btrfs_command *command,
                      enum btrfs_attribute_type type, struct place *ret, struct error *err)
{
    const char *name = NULL;
    int r = btrfs_get_text(command, type, &ret->path, err);
    if (r == 0)
        r = beneath_normalize(ret->path, ret->path, err);
    if (r < 0)
        return r;
    ret->parent_fd = beneath_open_parent(apply->root_fd, ret->path, &name);
    ret->name = name && *name ? name : ".";
    return ret->parent_fd < 0
               ? beneath_write_failed(apply->root_fd, ret->parent_fd, ret->path, 0, err)
               : 0;
}

static int done(const struct btrfs_apply *apply, const struct place *place, int result,
                struct error *err)
{
    return result < 0 ? beneath_write_failed(apply->root_fd, errno, place->path, 0, err) : 0;
}

static int damaged(const char *why, struct error *err)
{
    return fail(err, ERROR_INVALID, EBADMSG, BTRFS_STREAM_DAMAGED "%s", why);
}

/* A number that fits into 32 bits. */
static int get_id(const struct btrfs_command *command, enum btrfs_attribute_type type,
                  uint32_t *ret, struct error *err)
{
    uint64_t number = 0;
    int r = btrfs_get_number(command, type, &number, err);
    if (r == 0 && number >= UINT32_MAX)
        return damaged("an id or a mode is out of range", err);
    *ret = (uint32_t)number;
    return r;
}

static int get_offset(const struct btrfs_command *command, enum btrfs_attribute_type type,
                      off_t *ret, struct error *err)
{
    uint64_t number = 0;
    int r = btrfs_get_number(command, type, &number, err);
    if (r == 0 && number > INT64_MAX)
        return damaged("an offset is out of range", err);
    *ret = (off_t)number;
    return r;
}

static int make_node(const struct btrfs_apply *apply, const struct place *place, mode_t type,
                     dev_t device, struct error *err)
{
    int r = type == S_IFDIR ? mkdirat(place->parent_fd, place->name, 0700)
                            : mknodat(place->parent_fd, place->name, type | 0600, device);
    if (r == 0)
        r = fchdir(place->parent_fd);
    if (r == 0)
        r = xattrs_drop_inherited(-EBADF, place->name, NULL);
    return done(apply, place, r, err);
}

static int apply_mkfile(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    return make_node(apply, place, S_IFREG, 0, err);
}

static int apply_mkdir(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    return make_node(apply, place, S_IFDIR, 0, err);
}

static int apply_mkfifo(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    return make_node(apply, place, S_IFIFO, 0, err);
}

static int apply_mksock(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    return make_node(apply, place, S_IFSOCK, 0, err);
}

static int apply_mknod(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    uint32_t mode = 0;
    uint64_t device = 0;
    int r = get_id(command, BTRFS_MODE, &mode, err);
    if (r == 0)
        r = btrfs_get_number(command, BTRFS_RDEV, &device, err);
    if (r == 0 && !S_ISCHR(mode) && !S_ISBLK(mode))
        r = damaged("a device is none", err);
    return r < 0 ? r : make_node(apply, place, mode & S_IFMT, (dev_t)device, err);
}

static int apply_symlink(struct btrfs_apply *apply, const struct btrfs_command *command,
                         const struct place *place, struct error *err)
{
    _cleanup_free_ char *content = NULL;
    int r = btrfs_get_text(command, BTRFS_PATH_LINK, &content, err);
    return r < 0 ? r
                 : done(apply, place, symlinkat(content, place->parent_fd, place->name), err);
}

static int apply_rename(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    _cleanup_place_ struct place to = {.name = ".", .parent_fd = -EBADF};
    int r = place_find(apply, command, BTRFS_PATH_TO, &to, err);
    return r < 0 ? r
                 : done(apply, &to,
                        renameat(place->parent_fd, place->name, to.parent_fd, to.name), err);
}

static int apply_link(struct btrfs_apply *apply, const struct btrfs_command *command,
                      const struct place *place, struct error *err)
{
    _cleanup_place_ struct place from = {.name = ".", .parent_fd = -EBADF};
    int r = place_find(apply, command, BTRFS_PATH_LINK, &from, err);
    return r < 0
               ? r
               : done(apply, place,
                      linkat(from.parent_fd, from.name, place->parent_fd, place->name, 0), err);
}

static int apply_unlink(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    return done(apply, place, unlinkat(place->parent_fd, place->name, 0), err);
}

static int apply_rmdir(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    return done(apply, place, unlinkat(place->parent_fd, place->name, AT_REMOVEDIR), err);
}

/* Attributes that are no template's are left out; what btrfs is to do with a file's content is
 * taken along. */
static bool is_taken(const char *name)
{
    return xattr_is_kept(name) || streq(name, "btrfs.compression");
}

static int apply_set_xattr(struct btrfs_apply *apply, const struct btrfs_command *command,
                           const struct place *place, struct error *err)
{
    _cleanup_free_ char *name = NULL;
    const struct btrfs_attribute *value = &command->attributes[BTRFS_XATTR_DATA];
    int r = btrfs_get_text(command, BTRFS_XATTR_NAME, &name, err);
    if (r == 0 && !value->data)
        r = damaged("an extended attribute has no value", err);
    if (r < 0 || !is_taken(name))
        return r;
    r = fchdir(place->parent_fd);
    if (r == 0)
        r = lsetxattr(place->name, name, value->data, value->length, 0);
    return done(apply, place, r, err);
}

static int apply_remove_xattr(struct btrfs_apply *apply, const struct btrfs_command *command,
                              const struct place *place, struct error *err)
{
    _cleanup_free_ char *name = NULL;
    int r = btrfs_get_text(command, BTRFS_XATTR_NAME, &name, err);
    if (r < 0 || !is_taken(name))
        return r;
    r = fchdir(place->parent_fd);
    if (r == 0)
        r = lremovexattr(place->name, name);
    return done(apply, place, r < 0 && errno == ENODATA ? 0 : r, err);
}

/* A regular file, for nothing else has content; a device is not even opened. */
static int open_file(const struct btrfs_apply *apply, const struct place *place, int flags,
                     struct error *err)
{
    struct stat st;
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return done(apply, place, -1, err);
    if (!S_ISREG(st.st_mode))
        return damaged("what has content is no regular file", err);
    int fd = openat(place->parent_fd, place->name, flags | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? done(apply, place, -1, err) : fd;
}

static void forget_file(struct btrfs_apply *apply)
{
    apply->file_fd = fd_close(apply->file_fd);
    free(apply->file_path);
    apply->file_path = NULL;
}

/* Most of a stream writes to one file after the other: *ret stays the stream's. */
static int open_target(struct btrfs_apply *apply, const struct place *place, int *ret,
                       struct error *err)
{
    if (!apply->file_path || !streq(apply->file_path, place->path)) {
        forget_file(apply);
        char *path = strdup(place->path);
        int fd = path ? open_file(apply, place, O_WRONLY, err)
                      : fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
        if (fd < 0) {
            free(path);
            return fd;
        }
        apply->file_path = path;
        apply->file_fd = fd;
    }
    *ret = apply->file_fd;
    return 0;
}

static int apply_write(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    int fd = -EBADF;
    off_t offset = 0;
    const struct btrfs_attribute *data = &command->attributes[BTRFS_DATA];
    int r = get_offset(command, BTRFS_FILE_OFFSET, &offset, err);
    if (r == 0 && !data->data)
        r = damaged("nothing is to be written", err);
    if (r == 0)
        r = open_target(apply, place, &fd, err);
    for (size_t at = 0; r == 0 && at < data->length;) {
        ssize_t n = pwrite(fd, data->data + at, data->length - at, offset + (off_t)at);
        if (n < 0 && errno != EINTR)
            r = beneath_write_failed(apply->root_fd, errno, place->path, data->length, err);
        at += n > 0 ? (size_t)n : 0;
    }
    return r;
}

/* On btrfs the kernel lets both share the blocks. Not beyond the source's end, which moves
 * along where both are one file. */
static int copy_range(int from_fd, off_t from, int to_fd, off_t to, uint64_t length)
{
    struct stat st;
    if (fstat(from_fd, &st) < 0)
        return -1;
    if (from > st.st_size || length > (uint64_t)(st.st_size - from)) {
        errno = ENODATA;
        return -1;
    }
    while (length > 0) {
        ssize_t n = copy_file_range(from_fd, &from, to_fd, &to,
                                    length < SSIZE_MAX ? (size_t)length : SSIZE_MAX, 0);
        if (n == 0)
            errno = ENODATA;
        if (n == 0 || (n < 0 && errno != EINTR))
            return -1;
        length -= n > 0 ? (uint64_t)n : 0;
    }
    return 0;
}

/* Of what was sent before of this subvolume: no other is named when it is sent. */
static int apply_clone(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    int to_fd = -EBADF;
    off_t from = 0;
    off_t to = 0;
    uint64_t length = 0;
    uint8_t uuid[BTRFS_UUID_SIZE] = {0};
    _cleanup_place_ struct place source = {.name = ".", .parent_fd = -EBADF};
    int r = btrfs_get_uuid(command, BTRFS_CLONE_UUID, uuid, err);
    if (r == 0 && memcmp(uuid, apply->uuid, sizeof(uuid)) != 0)
        r = damaged("it wants blocks of another subvolume", err);
    if (r == 0)
        r = get_offset(command, BTRFS_FILE_OFFSET, &to, err);
    if (r == 0)
        r = get_offset(command, BTRFS_CLONE_OFFSET, &from, err);
    if (r == 0)
        r = btrfs_get_number(command, BTRFS_CLONE_LENGTH, &length, err);
    if (r == 0 && length > CLONE_MAX)
        r = damaged("it shares more than an extent", err);
    if (r == 0)
        r = place_find(apply, command, BTRFS_CLONE_PATH, &source, err);
    if (r == 0)
        r = open_target(apply, place, &to_fd, err);
    _cleanup_close_ int from_fd = r < 0 ? r : open_file(apply, &source, O_RDONLY, err);
    return from_fd < 0 ? from_fd
                       : done(apply, place, copy_range(from_fd, from, to_fd, to, length), err);
}

static int apply_truncate(struct btrfs_apply *apply, const struct btrfs_command *command,
                          const struct place *place, struct error *err)
{
    int fd = -EBADF;
    off_t size = 0;
    int r = get_offset(command, BTRFS_SIZE, &size, err);
    if (r == 0)
        r = open_target(apply, place, &fd, err);
    return r < 0 ? r : done(apply, place, ftruncate(fd, size), err);
}

static int apply_chmod(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    struct stat st;
    uint32_t mode = 0;
    int r = get_id(command, BTRFS_MODE, &mode, err);
    if (r < 0)
        return r;
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return done(apply, place, -1, err);
    if (S_ISLNK(st.st_mode)) /* fchmodat follows it */
        return damaged("a symlink is to have a mode", err);
    return done(apply, place, fchmodat(place->parent_fd, place->name, mode & 07777, 0), err);
}

static int apply_chown(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct place *place, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = get_id(command, BTRFS_UID, &uid, err);
    if (r == 0)
        r = get_id(command, BTRFS_GID, &gid, err);
    return r < 0 ? r
                 : done(apply, place,
                        fchownat(place->parent_fd, place->name, uid, gid, AT_SYMLINK_NOFOLLOW),
                        err);
}

static int apply_utimes(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct place *place, struct error *err)
{
    struct timespec times[2];
    int r = btrfs_get_time(command, BTRFS_ATIME, &times[0], err);
    if (r == 0)
        r = btrfs_get_time(command, BTRFS_MTIME, &times[1], err);
    return r < 0 ? r
                 : done(apply, place,
                        utimensat(place->parent_fd, place->name, times, AT_SYMLINK_NOFOLLOW),
                        err);
}

static int (*const commands[_BTRFS_COMMANDS])(struct btrfs_apply *apply,
                                              const struct btrfs_command *command,
                                              const struct place *place, struct error *err) = {
    [BTRFS_MKFILE] = apply_mkfile,       [BTRFS_MKDIR] = apply_mkdir,
    [BTRFS_MKNOD] = apply_mknod,         [BTRFS_MKFIFO] = apply_mkfifo,
    [BTRFS_MKSOCK] = apply_mksock,       [BTRFS_SYMLINK] = apply_symlink,
    [BTRFS_RENAME] = apply_rename,       [BTRFS_LINK] = apply_link,
    [BTRFS_UNLINK] = apply_unlink,       [BTRFS_RMDIR] = apply_rmdir,
    [BTRFS_SET_XATTR] = apply_set_xattr, [BTRFS_REMOVE_XATTR] = apply_remove_xattr,
    [BTRFS_WRITE] = apply_write,         [BTRFS_CLONE] = apply_clone,
    [BTRFS_TRUNCATE] = apply_truncate,   [BTRFS_CHMOD] = apply_chmod,
    [BTRFS_CHOWN] = apply_chown,         [BTRFS_UTIMES] = apply_utimes,
};

static int begin(struct btrfs_apply *apply, const struct btrfs_command *command,
                 struct error *err)
{
    if (apply->begun)
        return damaged("it begins twice", err);
    apply->begun = true;
    return btrfs_get_uuid(command, BTRFS_UUID, apply->uuid, err);
}

static int on_command(const struct btrfs_command *command, void *data, struct error *err)
{
    struct btrfs_apply *apply = data;
    _cleanup_place_ struct place place = {.name = ".", .parent_fd = -EBADF};
    if (apply->ended)
        return damaged("something follows its end", err);
    if (command->type == BTRFS_SUBVOL || command->type == BTRFS_SNAPSHOT)
        return begin(apply, command, err);
    if (!apply->begun)
        return damaged("it has no beginning", err);
    apply->ended = command->type == BTRFS_END;
    if (apply->ended)
        return 0;
    /* what was written to may have another name behind any other command */
    if (command->type != BTRFS_WRITE && command->type != BTRFS_CLONE &&
        command->type != BTRFS_TRUNCATE)
        forget_file(apply);
    int r = place_find(apply, command, BTRFS_PATH, &place, err);
    return r < 0 ? r : commands[command->type](apply, command, &place, err);
}

static int put(struct sink *sink, const void *data, size_t length, struct error *err)
{
    struct btrfs_apply *apply = (struct btrfs_apply *)sink;
    return btrfs_stream_put(&apply->stream, data, length, err);
}

void btrfs_apply_begin(struct btrfs_apply *apply, int root_fd)
{
    apply->sink = (struct sink){put};
    apply->root_fd = root_fd;
    apply->begun = apply->ended = false;
    apply->file_path = NULL;
    apply->file_fd = -EBADF;
    btrfs_stream_begin(&apply->stream);
    apply->stream.callback = on_command;
    apply->stream.data = apply;
}

void btrfs_apply_clear(struct btrfs_apply *apply)
{
    forget_file(apply);
}

int btrfs_apply_end(const struct btrfs_apply *apply, struct error *err)
{
    return apply->ended ? 0 : damaged("it is cut off", err);
}
