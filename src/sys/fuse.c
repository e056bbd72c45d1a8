/* SPDX-License-Identifier: Apache-2.0 */
/* See fuse.h. Runs in isolated as root; the numbers are the kernel's. */
#include "sys/fuse.h"

#include "base/parse.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <sys/stat.h>

int fuse_device_of(int fd, uint32_t *ret_major, uint32_t *ret_minor)
{
    struct statx stx;
    if (statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, 0, &stx) < 0)
        return -errno;
    *ret_major = stx.stx_dev_major;
    *ret_minor = stx.stx_dev_minor;
    return 0;
}

int fuse_abort(bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
               const void *data)
{
    static const char *const none[] = {NULL};
    int n = 0;
    int mount = mount_new("fusectl", none, 0); /* ours alone: perhaps nobody has mounted it */
    if (mount == -ENODEV)
        return 0;
    if (mount < 0)
        return mount;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(mount, "."));
    int r = dir ? 0 : -errno;
    fd_close(mount);
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        struct stat st;
        struct fuse_mount one;
        if (parse_u32(entry->d_name, 0, UINT32_MAX, &one.minor, "", NULL) < 0 ||
            fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) < 0)
            continue;
        one.uid = st.st_uid;
        if (!is_theirs(&one, data))
            continue;
        _cleanup_close_ int connection = dir_open_at(dirfd(dir), entry->d_name);
        n += connection >= 0 && file_write_at(connection, "abort", "1") == 0;
    }
    return r < 0 ? r : n;
}
