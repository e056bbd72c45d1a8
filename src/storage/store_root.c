/* SPDX-License-Identifier: Apache-2.0 */
/* One-off roots: directories that a caller opened and sent. A path is opened again only for a
 * kept clone, and by then it may lead elsewhere: whoever owns a directory above can put another
 * one in its place. Runs in isolated as root. */
#include "storage/store_root.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/vfs.h>

int root_identify(int root_fd, struct root_identity *ret)
{
    struct stat st;
    struct statfs fs;
    if (fstat(root_fd, &st) < 0 || fstatfs(root_fd, &fs) < 0)
        return -errno;
    *ret = (struct root_identity){.device = st.st_dev, .inode = st.st_ino};
    memcpy(&ret->file_system, &fs.f_fsid, sizeof(ret->file_system));
    return 0;
}

static bool is_same(const struct root_identity *a, const struct root_identity *b)
{
    if (a->inode != b->inode)
        return false;
    return a->device == b->device || (a->file_system && a->file_system == b->file_system);
}

int store_root_open(const struct store_clone *clone, int root_fd, struct error *err)
{
    struct root_identity found = {0};
    _cleanup_close_ int fd = root_fd >= 0
                                 ? fcntl(root_fd, F_DUPFD_CLOEXEC, 0)
                                 : open(clone->root_path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = fd < 0 ? -errno : root_identify(fd, &found);
    if (r < 0)
        return fail(err, ERROR_NOT_FOUND, r, "template %s: ", clone->root_path);
    if (clone->root.inode && !is_same(&clone->root, &found))
        return fail(err, ERROR_NOT_FOUND, ESTALE,
                    "template %s: this is another directory than the one that clone %s was "
                    "made from; put that one back, or remove the sandbox",
                    clone->root_path, clone->name);
    return TAKE_FD(fd);
}
