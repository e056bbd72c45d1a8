/* SPDX-License-Identifier: Apache-2.0 */
/* image/tar_*.c: an archive is unpacked into the target's own directory, without the chroot and
 * the filter that it has in life: it must need neither to stay there. */
#include "target.h"

#include "image/tar.h"
#include "sys/fd.h"

#include <sys/stat.h>

const bool target_needs_walls = true;

#define INSIDE "inside"

void target_run(const uint8_t *data, size_t size)
{
    struct error err = {0};
    target_sweep();
    target_make_outside();
    MUST(mkdirat(target_directory_fd(), INSIDE, 0755) == 0);
    _cleanup_close_ int root = dir_open_at(target_directory_fd(), INSIDE);
    _cleanup_close_ int archive = memfd_of("archive", data, size, 0600);
    if (root < 0 || archive < 0 || lseek(archive, 0, SEEK_SET) < 0)
        return;
    int r = tar_read(archive, "the input", root, NULL, &err);
    MUST(r == 0 || (err.code != ERROR_NONE && *err.text));
    target_check_outside();
}
