/* SPDX-License-Identifier: Apache-2.0 */
/* See fuse.h. Runs in isolated as root; the numbers are the kernel's. */
#include "sys/fuse.h"

#include "base/parse.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
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

int fuse_open_connections(void)
{
    static const char *const none[] = {NULL};
    int mount = mount_new("fusectl", none, 0);
    if (mount < 0)
        return mount;
    int dir = dir_open_at(mount, ".");
    fd_close(mount);
    return dir;
}

/* 1 or 0 */
static int abort_in(int dir_fd, const char *name,
                    bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
                    const void *data)
{
    struct stat st;
    struct fuse_mount one;
    if (parse_u32(name, 0, UINT32_MAX, &one.minor, "", NULL) < 0 ||
        fstatat(dir_fd, name, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return 0;
    one.uid = st.st_uid;
    if (!is_theirs(&one, data))
        return 0;
    _cleanup_close_ int connection = dir_open_at(dir_fd, name);
    return connection >= 0 && file_write_at(connection, "abort", "1") == 0;
}

int fuse_abort_one(int connections_fd, uint32_t minor,
                   bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
                   const void *data)
{
    char name[16];
    (void)snprintf(name, sizeof(name), "%u", minor);
    return connections_fd < 0 ? 0 : abort_in(connections_fd, name, is_theirs, data);
}

int fuse_abort(bool (*is_theirs)(const struct fuse_mount *mount, const void *data),
               const void *data)
{
    int n = 0;
    int connections = fuse_open_connections();
    if (connections < 0)
        return connections == -ENODEV ? 0 : connections;
    _cleanup_closedir_ DIR *dir = dir_stream(connections);
    if (!dir)
        return -errno;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += abort_in(connections, entry->d_name, is_theirs, data);
    return n;
}
