/* SPDX-License-Identifier: Apache-2.0 */
/* Mount system calls. Runs as root on the host (isolated) and as root of a sandbox (init);
 * paths come from isolate, except in open_resolved, whose flags confine a hostile one. */
#include "sys/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/syscall.h>

#ifndef AT_RECURSIVE
#define AT_RECURSIVE 0x8000
#endif

static int result(long r)
{
    return r < 0 ? -errno : (int)r;
}

int mount_open_tree(int dir_fd, const char *path, bool recursive)
{
    unsigned flags = OPEN_TREE_CLONE | OPEN_TREE_CLOEXEC | AT_SYMLINK_NOFOLLOW;
    if (*path == '\0')
        flags |= AT_EMPTY_PATH;
    if (recursive)
        flags |= AT_RECURSIVE;
    _cleanup_close_ int fd = result(syscall(SYS_open_tree, dir_fd, path, flags));
    if (fd < 0)
        return fd;
    struct mount_attr attributes = {.propagation = MS_PRIVATE};
    unsigned set_flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    if (syscall(SYS_mount_setattr, fd, "", set_flags, &attributes, sizeof(attributes)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int mount_set_attributes(int fd, bool recursive, uint64_t set, uint64_t clear, int userns_fd)
{
    struct mount_attr attributes = {.attr_set = set, .attr_clr = clear};
    if (userns_fd >= 0) {
        attributes.attr_set |= MOUNT_ATTR_IDMAP;
        attributes.userns_fd = (uint64_t)userns_fd;
    }
    unsigned flags = AT_EMPTY_PATH | (recursive ? AT_RECURSIVE : 0);
    return result(syscall(SYS_mount_setattr, fd, "", flags, &attributes, sizeof(attributes)));
}

int mount_attach(int mount_fd, int at_fd)
{
    return result(syscall(SYS_move_mount, mount_fd, "", at_fd, "",
                          MOVE_MOUNT_F_EMPTY_PATH | MOVE_MOUNT_T_EMPTY_PATH));
}

int mount_attach_path(int mount_fd, const char *path)
{
    return result(
        syscall(SYS_move_mount, mount_fd, "", AT_FDCWD, path, MOVE_MOUNT_F_EMPTY_PATH));
}

int mount_context(const char *type)
{
    return result(syscall(SYS_fsopen, type, FSOPEN_CLOEXEC));
}

int mount_context_set(int context, const char *key, const char *value)
{
    unsigned command = value ? FSCONFIG_SET_STRING : FSCONFIG_SET_FLAG;
    return result(syscall(SYS_fsconfig, context, command, key, value, 0));
}

int mount_context_set_fd(int context, const char *key, int fd)
{
    return result(syscall(SYS_fsconfig, context, FSCONFIG_SET_FD, key, NULL, fd));
}

int mount_context_create(int context, uint64_t attributes)
{
    int r = result(syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0));
    if (r < 0)
        return r;
    return result(syscall(SYS_fsmount, context, FSMOUNT_CLOEXEC, attributes));
}

int mount_new(const char *type, const char *const *options, uint64_t attributes)
{
    _cleanup_close_ int context = mount_context(type);
    if (context < 0)
        return context;
    for (size_t i = 0; options && options[i]; i += 2) {
        int r = mount_context_set(context, options[i], options[i + 1]);
        if (r < 0)
            return r;
    }
    return mount_context_create(context, attributes);
}

int mount_super_read_only(int mount_fd)
{
    _cleanup_close_ int context =
        result(syscall(SYS_fspick, mount_fd, "", FSPICK_CLOEXEC | FSPICK_EMPTY_PATH));
    if (context < 0)
        return context;
    int r = mount_context_set(context, "ro", NULL);
    if (r < 0)
        return r;
    return result(syscall(SYS_fsconfig, context, FSCONFIG_CMD_RECONFIGURE, NULL, NULL, 0));
}

int mount_classic(const char *source, const char *target, const char *type, unsigned long flags,
                  const char *data)
{
    return result(syscall(SYS_mount, source, target, type, flags, data));
}

int mount_detach(const char *target)
{
    return result(syscall(SYS_umount2, target, MOUNT_DETACH));
}

int mount_pivot_root(const char *new_root, const char *put_old)
{
    return result(syscall(SYS_pivot_root, new_root, put_old));
}

int open_resolved(int dir_fd, const char *path, int flags, uint64_t resolve)
{
    struct open_how how = {.flags = (uint64_t)(unsigned)(flags | O_CLOEXEC),
                           .resolve = resolve};
    long fd = 0;
    const int tries_max = resolve & RESOLVE_CACHED ? 1 : 1000;
    for (int tries = 0; tries < tries_max; tries++) {
        fd = syscall(SYS_openat2, dir_fd, path, &how, sizeof(how));
        if (fd >= 0 || errno != EAGAIN)
            break;
    }
    return result(fd);
}
