/* SPDX-License-Identifier: Apache-2.0 */
/* Overlay mounts. Linux takes detached mounts as layers from 6.15 on (clone_private_mount), by
 * fd. Before, a layer must be a path in the caller's mount namespace: so a child enters a copy
 * of it that nobody else sees, attaches the layers there, and sends back a detached copy of the
 * overlay, which holds its layers itself and outlives that namespace. Runs as root in isolated
 * and in isolate-ctl. */
#include "sys/overlayfs.h"

#include "base/buffer.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/mount_child.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <sys/fsuid.h>

static const char *const fixed_options[][2] = {
    {"metacopy", "off"},
    {"index", "off"},
    {"xino", "auto"},
};

static const char *redirect_dir(const struct overlayfs *overlay)
{
    return overlay->parent_fd < 0 ? "follow" : "on";
}

/* ---- by fd ---- */

static int set_options(int context, const struct overlayfs *overlay)
{
    int r = mount_context_set(context, "source", "isolate");
    if (r == 0)
        r = mount_context_set(context, "redirect_dir", redirect_dir(overlay));
    for (size_t i = 0; i < ELEMENTS(fixed_options) && r == 0; i++)
        r = mount_context_set(context, fixed_options[i][0], fixed_options[i][1]);
    if (r == 0 && overlay->no_sync && overlay->parent_fd >= 0)
        r = mount_context_set(context, "volatile", NULL);
    return r;
}

static int set_upper(int context, int parent_fd)
{
    static const char *const keys[][2] = {{"upper", "upperdir"}, {"work", "workdir"}};
    int r = 0;
    for (size_t i = 0; i < ELEMENTS(keys) && r == 0; i++) {
        _cleanup_close_ int fd = openat(parent_fd, keys[i][0], O_PATH | O_NOFOLLOW | O_CLOEXEC);
        r = fd < 0 ? -errno : mount_context_set_fd(context, keys[i][1], fd);
    }
    return r;
}

/* A detached copy of what parent_fd shows, id-mapped where that is wanted. Of a detached mount
 * there are no copies before Linux 6.15. */
static int open_parent(const struct overlayfs *overlay)
{
    _cleanup_close_ int tree = overlay->parent_is_mount
                                   ? dup_cloexec(overlay->parent_fd)
                                   : mount_open_tree(overlay->parent_fd, "", false);
    int r = tree < 0 ? tree : 0;
    if (r == 0 && overlay->parent_userns_fd > 0)
        r = mount_set_attributes(tree, false, 0, 0, overlay->parent_userns_fd);
    return r < 0 ? r : TAKE_FD(tree);
}

static int mount_by_fds(const struct overlayfs *overlay, uint64_t attributes)
{
    bool is_mapped = overlay->parent_fd >= 0 && overlay->parent_userns_fd > 0;
    _cleanup_close_ int mapped = is_mapped ? open_parent(overlay) : -EBADF;
    if (is_mapped && mapped < 0)
        return mapped;
    _cleanup_close_ int context = mount_context("overlay");
    int r = context < 0 ? context : set_options(context, overlay);
    for (size_t i = overlay->n; i > 0 && r == 0; i--)
        r = mount_context_set_fd(context, "lowerdir+", overlay->lowers[i - 1]);
    if (r == 0 && overlay->parent_fd >= 0)
        r = set_upper(context, is_mapped ? mapped : overlay->parent_fd);
    return r < 0 ? r : mount_context_create(context, attributes);
}

/* ---- by paths, in the child ---- */

/* Attached, a layer can be named by its fd. */
static int attach_layers(const struct overlayfs *overlay, struct buffer *text)
{
    int r = 0;
    buffer_printf(text, "redirect_dir=%s", redirect_dir(overlay));
    for (size_t i = 0; i < ELEMENTS(fixed_options); i++)
        buffer_printf(text, ",%s=%s", fixed_options[i][0], fixed_options[i][1]);
    buffer_printf(text, ",lowerdir");
    for (size_t i = overlay->n; i > 0 && r == 0; i--) {
        r = mount_attach_path(overlay->lowers[i - 1], MOUNT_PLACE);
        buffer_printf(text, "%c/proc/self/fd/%d", i == overlay->n ? '=' : ':',
                      overlay->lowers[i - 1]);
    }
    return r;
}

/* tree: of open_parent. */
static int attach_upper(const struct overlayfs *overlay, int tree, struct buffer *text)
{
    int r = mount_attach_path(tree, MOUNT_PLACE);
    if (r < 0)
        return r;
    int upper = openat(tree, "upper", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    int work = upper < 0 ? -EBADF : openat(tree, "work", O_PATH | O_NOFOLLOW | O_CLOEXEC);
    if (work < 0)
        return -errno;
    /* both stay open until the child ends */
    buffer_printf(text, ",upperdir=/proc/self/fd/%d,workdir=/proc/self/fd/%d%s", upper, work,
                  overlay->no_sync ? ",volatile" : "");
    return 0;
}

static int mount_by_paths(const struct overlayfs *overlay, int tree, uint64_t attributes)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = mount_enter_place();
    if (r == 0)
        r = attach_layers(overlay, &text);
    if (r == 0 && tree >= 0)
        r = attach_upper(overlay, tree, &text);
    if (r == 0)
        r = text.failed ? -ENOMEM
                        : mount_classic("isolate", MOUNT_PLACE, "overlay", 0, text.data);
    if (r < 0)
        return r;
    _cleanup_close_ int mount = mount_open_tree(AT_FDCWD, MOUNT_PLACE, false);
    r = mount < 0 ? mount : mount_set_attributes(mount, false, attributes, 0, -EBADF);
    return r < 0 ? r : TAKE_FD(mount);
}

struct paths {
    const struct overlayfs *overlay;
    int tree;
    uint64_t attributes;
};

static int make_by_paths(const void *data)
{
    const struct paths *paths = data;
    return mount_by_paths(paths->overlay, paths->tree, paths->attributes);
}

static int mount_in_child(const struct overlayfs *overlay, uint64_t attributes)
{
    _cleanup_close_ int tree = -EBADF;
    if (overlay->parent_fd >= 0 && (tree = open_parent(overlay)) < 0)
        return tree;
    const struct paths paths = {overlay, tree, attributes};
    return mount_by_child(CLONE_NEWNS, make_by_paths, &paths);
}

static int mount_anyhow(const struct overlayfs *overlay, uint64_t attributes)
{
    int mount = mount_by_fds(overlay, attributes);
    /* 6.15 takes all of it; before, O_PATH fds are EBADF, detached layers and fds at all EINVAL
     */
    bool is_old = mount == -EINVAL || mount == -EBADF || mount == -EOPNOTSUPP;
    return is_old ? mount_in_child(overlay, attributes) : mount;
}

/* What is written through an overlay is written with the credentials of who mounted it. As
 * root, or with that capability, it would exceed quotas and use the blocks that ext4 reserves
 * for root: so as another user, with all other capabilities. */
int overlayfs_mount(const struct overlayfs *overlay, uint64_t attributes)
{
    uint64_t effective = 0;
    if (overlay->parent_fd < 0)
        return mount_anyhow(overlay, attributes);
    int mount = caps_effective(&effective);
    if (mount < 0)
        return mount;
    (void)setfsgid(overlay->writer_group);
    (void)setfsuid(overlay->writer); /* takes capabilities away */
    mount = caps_set_effective(effective & ~CAP_BIT(CAP_SYS_RESOURCE));
    if (mount == 0)
        mount = mount_anyhow(overlay, attributes);
    (void)setfsuid(0);
    (void)setfsgid(0);
    int r = caps_set_effective(effective);
    if (r < 0 && mount >= 0)
        fd_close(mount);
    return r < 0 ? r : mount;
}
