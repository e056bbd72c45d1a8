/* SPDX-License-Identifier: Apache-2.0 */
/* See overlay_root.h. */
#include "storage/overlay_root.h"

#include "base/text.h"
#include "sys/fd.h"

void overlay_root_clear(struct overlay_root *root)
{
    xattrs_clear(&root->xattrs);
}

int overlay_root_read(int fd, struct overlay_root *ret)
{
    _cleanup_close_ int dir = dir_open_at(fd, ".");
    if (dir < 0 || fstat(dir, &ret->st) < 0)
        return dir < 0 ? dir : -errno;
    return xattrs_read(dir, NULL, &ret->xattrs);
}

int overlay_root_shift(struct overlay_root *root, uint32_t stored, uint32_t first_id)
{
    root->st.st_uid = first_id + ((root->st.st_uid - stored) & 0xFFFF);
    root->st.st_gid = first_id + ((root->st.st_gid - stored) & 0xFFFF);
    return xattrs_shift_ids(&root->xattrs, first_id - stored);
}

int overlay_root_apply(const struct overlay_root *root, int upper_fd)
{
    const char *attribute = NULL;
    const struct timespec times[2] = {root->st.st_atim, root->st.st_mtim};
    if (fchown(upper_fd, root->st.st_uid, root->st.st_gid) < 0 ||
        fchmod(upper_fd, root->st.st_mode & 07777) < 0)
        return -errno;
    xattrs_remove_others(upper_fd, &root->xattrs);
    int r = xattrs_write(upper_fd, NULL, &root->xattrs, &attribute);
    /* they are sorted: those that must be there were written before */
    if (r == -EOPNOTSUPP &&
        (text_after(attribute, "user.") || text_after(attribute, "trusted.")))
        r = 0;
    return r < 0 ? r : futimens(upper_fd, times) < 0 ? -errno : 0;
}
