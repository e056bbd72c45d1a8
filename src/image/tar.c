/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of unpacking a tar archive. Runs in isolate-image as root; everything
 * hostile is read in the child, whose only word is one error object. */
#include "image/tar.h"

#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/progress.h"

static _Noreturn void unpack_in_child(const struct image_child *child, int archive_fd,
                                      const char *what, int target_fd,
                                      struct progress *progress)
{
    struct error err = {0};
    int root = -EBADF;
    const int keep[] = {archive_fd, child->error_fd};
    if (progress)
        progress->draws = false;
    int r = confine(CONFINE_WRITES_TREE, keep, ELEMENTS(keep), target_fd, &root, &err);
    if (r == 0)
        r = tar_read(archive_fd, what, root, progress, &err);
    image_child_exit(child, r, &err);
}

int image_extract(int archive_fd, const char *what, int target_fd, struct progress *progress,
                  struct error *err)
{
    struct image_child child = {.error_fd = -EBADF};
    int r = image_child_fork(what, &child, err);
    if (r < 0)
        return r;
    if (child.pid == 0)
        unpack_in_child(&child, archive_fd, what, target_fd, progress);
    return image_child_wait(&child, what, progress, err);
}
