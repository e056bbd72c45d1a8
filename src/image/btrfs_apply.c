/* SPDX-License-Identifier: Apache-2.0 */
/* See btrfs_apply.h. */
#include "image/btrfs_apply.h"

#include "base/text.h"
#include "image/beneath.h"
#include "sys/fd.h"
#include "sys/xattrs.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/xattr.h>
#include <unistd.h>

/* What was done to something that is there; where it is not, it may be a socket, which other
 * streams leave out. All else that is not there is told by the hash. */
static int done_if_there(const struct btrfs_place *place, int result, struct error *err)
{
    return result < 0 && errno == ENOENT ? 0 : btrfs_done(place, result, err);
}

/* A number that fits into 32 bits. */
static int get_id(const struct btrfs_command *command, enum btrfs_attribute_type type,
                  uint32_t *ret, struct error *err)
{
    uint64_t number = 0;
    int r = btrfs_get_number(command, type, &number, err);
    if (r == 0 && number >= UINT32_MAX)
        return btrfs_damaged("an id or a mode is out of range", err);
    *ret = (uint32_t)number;
    return r;
}

static int make_node(const struct btrfs_place *place, mode_t type, dev_t device,
                     struct error *err)
{
    int r = type == S_IFDIR ? mkdirat(place->parent_fd, place->name, 0700)
                            : mknodat(place->parent_fd, place->name, type | 0600, device);
    if (r == 0)
        r = fchdir(place->parent_fd);
    if (r < 0)
        return btrfs_done(place, r, err);
    r = xattrs_drop_inherited(-EBADF, place->name, NULL);
    return r < 0 ? beneath_write_failed(place->root_fd, r, place->path, 0, err) : 0;
}

/* Of each type that needs no more than a name. */
static int apply_make(struct btrfs_apply *apply, const struct btrfs_command *command,
                      const struct btrfs_place *place, struct error *err)
{
    static const mode_t types[] = {[BTRFS_MKFILE] = S_IFREG,
                                   [BTRFS_MKDIR] = S_IFDIR,
                                   [BTRFS_MKFIFO] = S_IFIFO,
                                   [BTRFS_MKSOCK] = S_IFSOCK};
    return make_node(place, types[command->type], 0, err);
}

static int apply_mknod(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    uint32_t mode = 0;
    uint64_t device = 0;
    int r = get_id(command, BTRFS_MODE, &mode, err);
    if (r == 0)
        r = btrfs_get_number(command, BTRFS_RDEV, &device, err);
    if (r == 0 && !S_ISCHR(mode) && !S_ISBLK(mode))
        r = btrfs_damaged("a device is none", err);
    return r < 0 ? r : make_node(place, mode & S_IFMT, (dev_t)device, err);
}

static int apply_symlink(struct btrfs_apply *apply, const struct btrfs_command *command,
                         const struct btrfs_place *place, struct error *err)
{
    _cleanup_free_ char *content = NULL;
    int r = btrfs_get_text(command, BTRFS_PATH_LINK, &content, err);
    return r < 0 ? r
                 : btrfs_done(place, symlinkat(content, place->parent_fd, place->name), err);
}

static int apply_rename(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct btrfs_place *place, struct error *err)
{
    _cleanup_btrfs_place_ struct btrfs_place to = BTRFS_PLACE_NONE;
    int r = btrfs_place_find(apply->root_fd, command, BTRFS_PATH_TO, &to, err);
    return r < 0 ? r
                 : done_if_there(&to,
                                 renameat(place->parent_fd, place->name, to.parent_fd, to.name),
                                 err);
}

static int apply_link(struct btrfs_apply *apply, const struct btrfs_command *command,
                      const struct btrfs_place *place, struct error *err)
{
    _cleanup_btrfs_place_ struct btrfs_place from = BTRFS_PLACE_NONE;
    int r = btrfs_place_find(apply->root_fd, command, BTRFS_PATH_LINK, &from, err);
    return r < 0
               ? r
               : done_if_there(
                     place, linkat(from.parent_fd, from.name, place->parent_fd, place->name, 0),
                     err);
}

static int apply_unlink(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct btrfs_place *place, struct error *err)
{
    return done_if_there(place, unlinkat(place->parent_fd, place->name, 0), err);
}

static int apply_rmdir(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    return btrfs_done(place, unlinkat(place->parent_fd, place->name, AT_REMOVEDIR), err);
}

/* What btrfs is to do with a file's content: taken along where it can be. */
#define COMPRESSION "btrfs.compression"

/* Attributes that are no template's are left out. */
static bool is_taken(const char *name)
{
    return xattr_is_kept(name) || streq(name, COMPRESSION);
}

static int attribute_done(const struct btrfs_place *place, const char *name, int result,
                          struct error *err)
{
    bool is_refused = result < 0 && (errno == EINVAL || errno == EOPNOTSUPP);
    return is_refused && streq(name, COMPRESSION) ? 0 : done_if_there(place, result, err);
}

static int apply_set_xattr(struct btrfs_apply *apply, const struct btrfs_command *command,
                           const struct btrfs_place *place, struct error *err)
{
    _cleanup_free_ char *name = NULL;
    const struct btrfs_attribute *value = &command->attributes[BTRFS_XATTR_DATA];
    int r = btrfs_get_text(command, BTRFS_XATTR_NAME, &name, err);
    if (r == 0 && !value->data)
        r = btrfs_damaged("an extended attribute has no value", err);
    if (r < 0 || !is_taken(name))
        return r;
    r = fchdir(place->parent_fd);
    if (r == 0)
        r = lsetxattr(place->name, name, value->data, value->length, 0);
    return attribute_done(place, name, r, err);
}

static int apply_remove_xattr(struct btrfs_apply *apply, const struct btrfs_command *command,
                              const struct btrfs_place *place, struct error *err)
{
    _cleanup_free_ char *name = NULL;
    int r = btrfs_get_text(command, BTRFS_XATTR_NAME, &name, err);
    if (r < 0 || !is_taken(name))
        return r;
    r = fchdir(place->parent_fd);
    if (r == 0)
        r = lremovexattr(place->name, name);
    return attribute_done(place, name, r < 0 && errno == ENODATA ? 0 : r, err);
}

static int apply_write(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    return btrfs_write(&apply->content, command, place, err);
}

static int apply_clone(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    return btrfs_clone(&apply->content, command, place, err);
}

static int apply_truncate(struct btrfs_apply *apply, const struct btrfs_command *command,
                          const struct btrfs_place *place, struct error *err)
{
    return btrfs_truncate(&apply->content, command, place, err);
}

static int apply_chmod(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    struct stat st;
    uint32_t mode = 0;
    int r = get_id(command, BTRFS_MODE, &mode, err);
    if (r < 0)
        return r;
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return done_if_there(place, -1, err);
    if (S_ISLNK(st.st_mode)) /* fchmodat follows it */
        return btrfs_damaged("a symlink is to have a mode", err);
    return btrfs_done(place, fchmodat(place->parent_fd, place->name, mode & 07777, 0), err);
}

/* Which takes the set-id bits from a file; the stream says nothing of a mode that is the same
 * before and after. */
static int chown_only(const struct btrfs_place *place, uint32_t uid, uint32_t gid)
{
    struct stat st;
    if (fstatat(place->parent_fd, place->name, &st, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchownat(place->parent_fd, place->name, uid, gid, AT_SYMLINK_NOFOLLOW) < 0)
        return -1;
    bool has_bits = S_ISREG(st.st_mode) && (st.st_mode & (S_ISUID | S_ISGID));
    return has_bits ? fchmodat(place->parent_fd, place->name, st.st_mode & 07777, 0) : 0;
}

static int apply_chown(struct btrfs_apply *apply, const struct btrfs_command *command,
                       const struct btrfs_place *place, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = get_id(command, BTRFS_UID, &uid, err);
    if (r == 0)
        r = get_id(command, BTRFS_GID, &gid, err);
    return r < 0 ? r : done_if_there(place, chown_only(place, uid, gid), err);
}

static int apply_utimes(struct btrfs_apply *apply, const struct btrfs_command *command,
                        const struct btrfs_place *place, struct error *err)
{
    struct timespec times[2];
    int r = btrfs_get_time(command, BTRFS_ATIME, &times[0], err);
    if (r == 0)
        r = btrfs_get_time(command, BTRFS_MTIME, &times[1], err);
    if (r < 0)
        return r;
    if (!*place->path) {
        memcpy(apply->times, times, sizeof(times));
        return 0;
    }
    r = utimensat(place->parent_fd, place->name, times, AT_SYMLINK_NOFOLLOW);
    return done_if_there(place, r, err);
}

static int (*const commands[_BTRFS_COMMANDS])(struct btrfs_apply *apply,
                                              const struct btrfs_command *command,
                                              const struct btrfs_place *place,
                                              struct error *err) = {
    [BTRFS_MKFILE] = apply_make,         [BTRFS_MKDIR] = apply_make,
    [BTRFS_MKNOD] = apply_mknod,         [BTRFS_MKFIFO] = apply_make,
    [BTRFS_MKSOCK] = apply_make,         [BTRFS_SYMLINK] = apply_symlink,
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
    struct stat st;
    if (apply->begun)
        return btrfs_damaged("it begins twice", err);
    if (fstat(apply->root_fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "look at the root: ");
    apply->times[0] = st.st_atim;
    apply->times[1] = st.st_mtim;
    apply->begun = true;
    return btrfs_get_uuid(command, BTRFS_UUID, apply->content.uuid, err);
}

static int end(struct btrfs_apply *apply, struct error *err)
{
    apply->ended = true;
    return utimensat(apply->root_fd, ".", apply->times, 0) < 0
               ? fail(err, ERROR_SYSTEM, errno, "set the times of the root: ")
               : 0;
}

static int on_command(const struct btrfs_command *command, void *data, struct error *err)
{
    struct btrfs_apply *apply = data;
    _cleanup_btrfs_place_ struct btrfs_place place = BTRFS_PLACE_NONE;
    if (apply->ended)
        return btrfs_damaged("something follows its end", err);
    if (command->type == BTRFS_SUBVOL || command->type == BTRFS_SNAPSHOT)
        return begin(apply, command, err);
    if (!apply->begun)
        return btrfs_damaged("it has no beginning", err);
    if (command->type == BTRFS_END)
        return end(apply, err);
    /* what was written to may have another name behind any other command */
    if (command->type != BTRFS_WRITE && command->type != BTRFS_CLONE &&
        command->type != BTRFS_TRUNCATE)
        btrfs_content_forget(&apply->content);
    int r = btrfs_place_find(apply->root_fd, command, BTRFS_PATH, &place, err);
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
    apply->content = (struct btrfs_content)BTRFS_CONTENT_NONE;
    btrfs_stream_begin(&apply->stream);
    apply->stream.callback = on_command;
    apply->stream.data = apply;
}

void btrfs_apply_clear(struct btrfs_apply *apply)
{
    btrfs_content_forget(&apply->content);
}

int btrfs_apply_end(const struct btrfs_apply *apply, struct error *err)
{
    return apply->ended ? 0 : btrfs_damaged("it is cut off", err);
}
