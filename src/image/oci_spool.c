/* SPDX-License-Identifier: Apache-2.0 */
/* A compressed archive of docker's is decompressed once, into a file without a name on the
 * storage that it is unpacked into, where the files in it can be found at once: what says which
 * ones there are comes last in it, and who makes it chooses their order. Runs in the parent as
 * root; a confined child reads. */
#include "image/child.h"
#include "image/confine.h"
#include "image/image.h"
#include "image/oci.h"
#include "image/progress.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define NAME ".archive"

/* For a moment it has a name: not every file system can make one without. */
static int make_file(int dir_fd)
{
    int fd = openat(dir_fd, NAME, O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd >= 0 && unlinkat(dir_fd, NAME, 0) < 0) {
        int r = -errno;
        fd_close(fd);
        return r;
    }
    return fd < 0 ? -errno : fd;
}

static _Noreturn void decompress_in_child(const struct oci_files *files,
                                          const struct image_child *child, int to_fd)
{
    struct error err = {0};
    const struct oci_ask ask = {.kind = OCI_ASK_ARCHIVE, .is_layer = 1, .name = "the archive"};
    const int keep[] = {files->container->fd, to_fd, child->error_fd};
    if (files->progress)
        files->progress->draws = false;
    int r = confine(CONFINE_STREAMS, keep, ELEMENTS(keep), files->root_fd, NULL, &err);
    if (r == 0)
        r = oci_stream(files->container->fd, false, &ask, to_fd, files->progress, &err);
    image_child_exit(child, r, &err);
}

int oci_spool(const struct oci_files *files, int *ret_fd, struct error *err)
{
    struct stat st;
    const char *what = files->container->what;
    struct image_child child = {.error_fd = -EBADF};
    _cleanup_close_ int fd = make_file(files->root_fd);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "decompress the archive: ");
    progress_begin(files->progress, "decompress");
    if (fstat(files->container->fd, &st) == 0)
        progress_expect(files->progress, (uint64_t)st.st_size);
    int r = image_child_fork(what, &child, err);
    if (r == 0 && child.pid == 0)
        decompress_in_child(files, &child, fd);
    if (r == 0)
        r = image_child_wait(&child, what, files->progress, err);
    if (r < 0)
        return r;
    progress_begin(files->progress, "unpack");
    if (fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "decompress the archive: ");
    if (st.st_size == 0)
        return 0;
    *ret_fd = TAKE_FD(fd);
    return 1;
}
