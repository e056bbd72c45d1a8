/* SPDX-License-Identifier: Apache-2.0 */
/* The fds are a caller's and may be anything. */
#include "sys/stdio.h"

#include <fcntl.h>
#include <sys/stat.h>

int stdio_check(int fd, const char *name, struct error *err)
{
    struct stat st;
    int flags = fcntl(fd, F_GETFL);
    if (flags < 0 || fstat(fd, &st) < 0)
        return fail(err, ERROR_INVALID, errno, "%s: ", name);
    const char *kind = (flags & O_PATH)      ? "an O_PATH descriptor"
                       : S_ISDIR(st.st_mode) ? "a directory"
                       : S_ISBLK(st.st_mode) ? "a block device"
                                             : NULL;
    if (kind)
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s is %s, which would open a way out of the sandbox; redirect it, for "
                    "example from /dev/null",
                    name, kind);
    return 0;
}
