/* SPDX-License-Identifier: Apache-2.0 */
/* image/btrfs_*.c: a stream is made a part of the target's own directory, without the chroot
 * and the filter that it has in life: it must need neither to stay there. The first byte says
 * in pieces of how many bytes it comes. */
#include "target.h"

#include "base/cleanup.h"
#include "image/btrfs_apply.h"
#include "sys/fd.h"

#include <errno.h>
#include <sys/stat.h>
#include <unistd.h>

const bool target_needs_walls = true;

#define INSIDE "inside"

ssize_t __real_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length,
                               unsigned flags);
ssize_t __wrap_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length,
                               unsigned flags);

/* A hole is as long as one says, and long in being copied where no blocks can be shared. */
ssize_t __wrap_copy_file_range(int from, off_t *from_at, int to, off_t *to_at, size_t length,
                               unsigned flags)
{
    if (length > 65536) {
        errno = ENOSPC;
        return -1;
    }
    return __real_copy_file_range(from, from_at, to, to_at, length, flags);
}

static int put_in_pieces(struct btrfs_apply *apply, const uint8_t *data, size_t size,
                         size_t piece, struct error *err)
{
    int r = 0;
    for (size_t at = 0; r == 0 && at < size; at += piece)
        r = sink_put(&apply->sink, data + at, size - at < piece ? size - at : piece, err);
    return r < 0 ? r : btrfs_apply_end(apply, err);
}

void target_run(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct input input = {data, size};
    static struct btrfs_apply apply;
    size_t piece = input_byte(&input) + (size_t)1;
    size_t fds = target_count_fds();
    target_sweep();
    target_make_outside();
    MUST(mkdirat(target_directory_fd(), INSIDE, 0755) == 0);
    int root = dir_open_at(target_directory_fd(), INSIDE);
    MUST(root >= 0);
    MUST(mkdirat(root, "dir", 0755) == 0 && symlinkat("../" TARGET_OUTSIDE, root, "up") == 0);
    btrfs_apply_begin(&apply, root);
    int r = put_in_pieces(&apply, input.at, input.left, piece, &err);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    btrfs_apply_clear(&apply);
    fd_close(root);
    MUST(target_count_fds() == fds);
    target_check_outside();
}
