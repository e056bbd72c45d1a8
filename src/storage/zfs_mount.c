/* SPDX-License-Identifier: Apache-2.0 */
/* Mounts of datasets. In the kernel a dataset is mounted by its name, seen by nobody; zfs-fuse
 * only mounts at a path, of which a detached copy is made. Runs in isolated as root. */
#include "base/log.h"
#include "base/text.h"
#include "storage/zfs.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <mntent.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

static int version(unsigned *ret_major, unsigned *ret_minor)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(AT_FDCWD, "/sys/module/zfs/version", 64, &text);
    if (r < 0)
        return r;
    char *end = NULL;
    *ret_major = (unsigned)strtoul(text.data ? text.data : "", &end, 10);
    *ret_minor = *end == '.' ? (unsigned)strtoul(end + 1, NULL, 10) : 0;
    return 0;
}

bool zfs_is_kernel(void)
{
    unsigned major = 0;
    unsigned minor = 0;
    return version(&major, &minor) == 0;
}

bool zfs_can_idmap(void)
{
    unsigned major = 0;
    unsigned minor = 0;
    return version(&major, &minor) == 0 && (major > 2 || (major == 2 && minor >= 2));
}

bool zfs_mounted_at(const char *dataset, char ret[static ZFS_PATH_SIZE])
{
    char line[8192];
    struct mntent entry;
    bool found = false;
    FILE *mounts = setmntent("/proc/self/mounts", "re");
    while (mounts && !found && getmntent_r(mounts, &entry, line, sizeof(line))) {
        found = streq(entry.mnt_type, "zfs") && streq(entry.mnt_fsname, dataset);
        if (found)
            (void)snprintf(ret, ZFS_PATH_SIZE, "%s", entry.mnt_dir);
    }
    if (mounts)
        (void)endmntent(mounts);
    return found;
}

/* Where zfs-fuse has it mounted, which is made so. */
static int mount_copy(const char *dataset, const struct zfs_dataset *of, uint64_t attributes,
                      int *ret_mount, struct error *err)
{
    struct statfs fs;
    if (!*of->mountpoint)
        return fail(err, ERROR_INVALID, EINVAL,
                    "dataset %s has no mountpoint, which zfs-fuse needs; set one with `zfs set "
                    "mountpoint=/PATH %s`",
                    dataset, dataset);
    int r = of->mounted ? 0 : ZFS(err, "mount", dataset);
    if (r < 0)
        return error_prefix(err, r, "dataset %s: mount: ", dataset);
    _cleanup_close_ int at = open(of->mountpoint, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (at < 0 || fstatfs(at, &fs) < 0)
        return fail(err, ERROR_SYSTEM, errno, "dataset %s: %s: ", dataset, of->mountpoint);
    if (fs.f_type != FUSE_SUPER_MAGIC)
        return fail(err, ERROR_SYSTEM, ESTALE, "dataset %s: nothing is mounted on %s", dataset,
                    of->mountpoint);
    _cleanup_close_ int mount = mount_open_tree(at, "", false);
    r = mount < 0 ? mount : mount_set_attributes(mount, false, attributes, 0, -EBADF);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "dataset %s: copy its mount: ", dataset);
    *ret_mount = TAKE_FD(mount);
    return 0;
}

int zfs_mount_detached(const char *dataset, const struct zfs_dataset *of, bool read_only,
                       int *ret_mount, struct error *err)
{
    uint64_t attributes = MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV;
    if (read_only)
        attributes |= MOUNT_ATTR_RDONLY;
    if (!zfs_is_kernel())
        return mount_copy(dataset, of, attributes, ret_mount, err);
    /* all mounts of a dataset have one superblock, which must not be asked to be read-only;
     * that of a snapshot is */
    const char *const options[] = {"source", dataset, strchr(dataset, '@') ? "ro" : NULL, NULL,
                                   NULL};
    int mount = mount_new("zfs", options, attributes | MOUNT_ATTR_NOATIME);
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "dataset %s: mount: ", dataset);
    *ret_mount = mount;
    return 0;
}

void zfs_unmount_visibly(const struct zfs_dataset *of)
{
    if (of->mounted && *of->mountpoint)
        (void)!mount_detach(of->mountpoint);
}

int zfs_mount_visibly(const char *dataset, const struct zfs_dataset *of, uint32_t first_id,
                      struct error *err)
{
    _cleanup_close_ int mount = -EBADF;
    if (!*of->mountpoint || of->mounted)
        return 0;
    if (!zfs_is_kernel()) {
        int r = ZFS(err, "mount", dataset);
        return r < 0 ? error_prefix(err, r, "dataset %s: mount: ", dataset) : 0;
    }
    int r = zfs_mount_detached(dataset, of, false, &mount, err);
    if (r < 0)
        return r;
    if (first_id != 0) {
        const struct id_map map = {0, first_id, USERNS_RANGE};
        _cleanup_close_ int userns = userns_new(&map, 1, &map, 1);
        r = userns < 0 ? userns : mount_set_attributes(mount, false, 0, 0, userns);
    }
    if (r == 0 && mkdir(of->mountpoint, 0755) < 0 && errno != EEXIST)
        r = -errno;
    if (r == 0)
        r = mount_attach_path(mount, of->mountpoint);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "dataset %s: mount it on %s: ", dataset,
                        of->mountpoint)
                 : 0;
}
