/* SPDX-License-Identifier: Apache-2.0 */
/* Where ZFS cannot be id-mapped (zfs-fuse, OpenZFS before 2.2), the template is never touched:
 * of each generation an intermediate is made once, whose files are stored with the ids of a
 * range that belongs to the template; clones are made of that. With zfs-fuse, which shows no
 * snapshots, another intermediate with the ids as they are serves to look at a generation. Runs
 * in isolated as root over generations, whose content is hostile. */
#include "base/parse.h"
#include "base/text.h"
#include "storage/zfs.h"
#include "sys/fd.h"
#include "sys/walk.h"
#include "sys/xattrs.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

struct shift {
    uint32_t first_id;
};

/* Owner before mode before attributes: a change of owner takes away set-id bits and
 * capabilities. */
static int shift_open(int fd, const struct walk_entry *entry, uint32_t first_id)
{
    const char *failed = NULL;
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = xattrs_read(fd, NULL, &xattrs);
    if (r == 0)
        r = xattrs_shift_ids(&xattrs, first_id);
    if (r < 0)
        return r;
    if (fchown(fd, entry->uid + first_id, entry->gid + first_id) < 0 ||
        fchmod(fd, entry->mode & 07777) < 0)
        return -errno;
    return xattrs_write(fd, NULL, &xattrs, &failed);
}

static int shift_regular(const struct walk_entry *entry, uint32_t first_id)
{
    _cleanup_close_ int fd = openat(entry->parent_fd, entry->name,
                                    O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC | O_NOATIME);
    return fd < 0 ? -errno : shift_open(fd, entry, first_id);
}

/* What cannot be opened. */
static int shift_special(const struct walk_entry *entry, uint32_t first_id)
{
    const char *failed = NULL;
    const struct fd_entry_path path = fd_entry_path(entry->parent_fd, entry->name);
    _cleanup_xattrs_ struct xattrs xattrs = {0};
    int r = xattrs_read(-EBADF, path.text, &xattrs);
    if (r == 0)
        r = xattrs_shift_ids(&xattrs, first_id);
    if (r == 0 && fchownat(entry->parent_fd, entry->name, entry->uid + first_id,
                           entry->gid + first_id, AT_SYMLINK_NOFOLLOW) < 0)
        r = -errno;
    return r < 0 ? r : xattrs_write(-EBADF, path.text, &xattrs, &failed);
}

static int shift_entry(void *data, const struct walk_entry *entry, struct error *err)
{
    const struct shift *shift = data;
    /* another name of one that has been shifted already */
    if (entry->uid >= shift->first_id)
        return 0;
    int r = S_ISREG(entry->mode) ? shift_regular(entry, shift->first_id)
                                 : shift_special(entry, shift->first_id);
    return r < 0 ? fail(err, error_code_of_errno(-r), r,
                        "shift the ids of \"%.300s\": ", entry->path)
                 : 0;
}

static int shift_directory(void *data, const struct walk_entry *entry, int directory_fd,
                           struct error *err)
{
    const struct shift *shift = data;
    int r = shift_open(directory_fd, entry, shift->first_id);
    return r < 0 ? fail(err, error_code_of_errno(-r), r,
                        "shift the ids of \"%.300s\": ", entry->path)
                 : 0;
}

static int shift_all(const char *dataset, uint32_t first_id, struct error *err)
{
    struct zfs_dataset of;
    _cleanup_close_ int mount = -EBADF;
    struct shift shift = {first_id};
    const struct walk_visitor visitor = {shift_entry, shift_directory, NULL, &shift};
    int r = zfs_get_filesystem(dataset, &of, err);
    if (r == 0)
        r = zfs_mount_detached(dataset, &of, false, &mount, err);
    _cleanup_close_ int root = r < 0 ? r : dir_open_at(mount, ".");
    if (r == 0 && root < 0)
        r = fail(err, ERROR_SYSTEM, root, "dataset %s: ", dataset);
    return r < 0 ? r : walk_tree(root, &visitor, err);
}

static int make(struct storage *storage, const char *name, const char *generation,
                uint32_t first_id, const char *dataset, struct error *err)
{
    char from[ZFS_NAME_SIZE];
    char shifted[ZFS_NAME_SIZE + 16];
    zfs_name(storage, from, "%s@%s", name, generation);
    (void)snprintf(shifted, sizeof(shifted), "%s@shifted", dataset);
    int r = zfs_destroy(dataset, err); /* half-made by somebody who was killed */
    if (r == 0)
        r = ZFS(err, "clone", "-o", "canmount=noauto", "-o", "setuid=off", "-o", "devices=off",
                "-o", "io.isolate:made=on", "-o", "io.isolate:import=shifted", from, dataset);
    if (r == 0 && first_id != 0)
        r = shift_all(dataset, first_id, err);
    if (r == 0)
        r = ZFS(err, "snapshot", shifted);
    if (r == 0) /* from here on it is no leftover */
        r = ZFS(err, "inherit", "io.isolate:import", dataset);
    if (r < 0)
        (void)!zfs_destroy(dataset, NULL);
    return r;
}

int zfs_shift_lock(struct storage *storage, bool wait, struct error *err)
{
    return store_lock_named(storage, "shift.lock", wait, err);
}

int zfs_shift_ensure(struct storage *storage, const char *name, const char *generation,
                     uint32_t first_id, char ret_dataset[static ZFS_NAME_SIZE],
                     struct error *err)
{
    struct zfs_dataset of;
    zfs_name(storage, ret_dataset, "%s:%s%s", name, generation, first_id == 0 ? ":0" : "");
    /* two at once: the second finds what the first has made */
    _cleanup_close_ int lock = zfs_shift_lock(storage, true, err);
    if (lock < 0)
        return lock;
    int r = zfs_get(ret_dataset, &of, err);
    if (r == 0 && *of.type && of.made && !*of.import)
        return 0;
    if (r == 0 && *of.type && !of.made)
        return fail(err, ERROR_EXISTS, EEXIST,
                    "dataset %s is in the way and not isolate's; rename it", ret_dataset);
    if (r == 0)
        r = make(storage, name, generation, first_id, ret_dataset, err);
    return r < 0 ? error_prefix(err, r, "template \"%s\": ", name) : 0;
}

/* ---- ranges ---- */

static void range_path(const char *name, char ret[static 128])
{
    (void)snprintf(ret, 128, "ranges/%s", name);
}

static uint32_t range_read(const struct storage *storage, const char *name)
{
    char path[128];
    uint32_t first_id = 0;
    _cleanup_buffer_ struct buffer text = {0};
    range_path(name, path);
    if (file_read_at(storage->dir_fd, path, 32, &text) < 0 || !text.data ||
        parse_u32(text.data, 65536, UINT32_MAX - 65536, &first_id, "range", NULL) < 0)
        return 0;
    return first_id;
}

int zfs_range(struct storage *storage, const char *name, uint32_t *ret_first_id,
              struct error *err)
{
    if (zfs_can_idmap())
        return 0;
    *ret_first_id = range_read(storage, name);
    return 1;
}

int zfs_range_make(struct storage *storage, const char *name, uint32_t first_id,
                   struct error *err)
{
    char text[16];
    _cleanup_close_ int dir = dir_make_at(storage->dir_fd, "ranges", 0700);
    (void)snprintf(text, sizeof(text), "%u", first_id);
    int r = dir < 0 ? dir : file_replace_at(dir, name, text, strlen(text), true);
    return r < 0 ? fail(err, error_code_of_errno(-r), r, "template \"%s\": its ids: ", name)
                 : 0;
}

int zfs_ranges(struct storage *storage, range_callback callback, void *data, struct error *err)
{
    int fd = dir_open_at(storage->dir_fd, "ranges");
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (!dir)
        return fd == -ENOENT ? 0 : fail(err, ERROR_SYSTEM, -errno, "ranges: ");
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    while (r > 0) {
        if (name_check_template(entry->d_name, NULL) == 0) {
            int done = callback(data, entry->d_name, range_read(storage, entry->d_name));
            if (done != 0)
                return done;
        }
        r = dir_next(dir, &entry);
    }
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "ranges: ") : 0;
}

struct removal {
    struct storage *storage;
    const char *prefix;
    struct error *err;
};

static int remove_one(void *data, const char *name, const char *value)
{
    struct removal *removal = data;
    char dataset[ZFS_NAME_SIZE];
    const char *rest = text_after(name, removal->prefix);
    if (!rest ||
        (*rest && *rest != ':' && removal->prefix[strlen(removal->prefix) - 1] != ':') ||
        !streq(value, "on"))
        return 0;
    zfs_name(removal->storage, dataset, "%s", name);
    return zfs_dispose(removal->storage, dataset, removal->err);
}

int zfs_shift_remove(struct storage *storage, const char *name, const char *generation,
                     struct error *err)
{
    char prefix[ZFS_NAME_SIZE];
    char path[128];
    (void)snprintf(prefix, sizeof(prefix), "%s:%s", name, generation ? generation : "");
    struct removal removal = {storage, prefix, err};
    if (zfs_can_idmap())
        return 0;
    int r = zfs_for_each_child(storage, "io.isolate:made", remove_one, &removal, err);
    range_path(name, path);
    if (r == 0 && !generation && unlinkat(storage->dir_fd, path, 0) < 0 && errno != ENOENT)
        r = fail(err, ERROR_SYSTEM, errno, "template \"%s\": its ids: ", name);
    return r;
}
