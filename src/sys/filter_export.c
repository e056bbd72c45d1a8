/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/filter_export.h"

#include "sys/fd.h"
#include "sys/filter_walk.h"

#include <sys/mman.h>

#define PROGRAM_MAX (1U << 20)

int filter_export(scmp_filter_ctx filter, struct buffer *ret)
{
    _cleanup_close_ int fd = memfd_create("filter", MFD_CLOEXEC);
    if (fd < 0)
        return -errno;
    int r = seccomp_export_bpf(filter, fd);
    if (r == 0 && lseek(fd, 0, SEEK_SET) < 0)
        r = -errno;
    return r < 0 ? r : fd_read_all(fd, PROGRAM_MAX, ret);
}

int filter_export_program(scmp_filter_ctx filter, struct buffer *ret)
{
    _cleanup_buffer_ struct buffer program = {0};
    int r = filter_export(filter, &program);
    if (r < 0)
        return r;
    const struct filter_program header = {(uint32_t)(program.length / 8), FILTER_EARLY};
    buffer_append(ret, &header, sizeof(header));
    buffer_append(ret, program.data, program.length);
    return ret->failed ? -ENOMEM : 0;
}
