/* SPDX-License-Identifier: Apache-2.0 */
/* See json_file.h. The file may be anybody's. */
#include "client/json_file.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>

static int read_text(const char *option, const char *path, size_t max, struct buffer *ret,
                     struct error *err)
{
    bool is_stdin = streq(path, "-");
    _cleanup_close_ int fd = is_stdin ? dup(STDIN_FILENO) : open(path, O_RDONLY | O_CLOEXEC);
    int r = fd < 0 ? -errno : fd_read_all(fd, max, ret);
    if (r == -EFBIG)
        return fail(err, ERROR_INVALID, EFBIG, "%s %s: is larger than %zu MiB", option, path,
                    max >> 20);
    if (r == -ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "%s %s: ", option, path);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "%s %s: ", option, path) : 0;
}

int json_file_read(const char *option, const char *path, size_t max, json_t **ret,
                   struct error *err)
{
    json_error_t where;
    _cleanup_buffer_ struct buffer text = {0};
    int r = read_text(option, path, max, &text, err);
    if (r < 0)
        return r;
    if (text.length == 0)
        return fail(err, ERROR_INVALID, EINVAL, "%s %s: is empty", option, path);
    *ret = json_loadb(text.data, text.length, JSON_REJECT_DUPLICATES, &where);
    return *ret ? 0
                : fail(err, ERROR_INVALID, EINVAL, "%s %s: line %d, column %d: %s", option,
                       path, where.line, where.column, where.text);
}
