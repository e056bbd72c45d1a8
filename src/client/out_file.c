/* SPDX-License-Identifier: Apache-2.0 */
/* Where archives and streams are written to. Runs in isolate-ctl as the caller, whose path it
 * is. */
#include "client/out_file.h"

#include "base/text.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

static int out_failed(const char *path, int errnum, struct error *err)
{
    return fail(err, errnum == ENOENT ? ERROR_NOT_FOUND : error_code_of_errno(errnum), errnum,
                "write %.300s: ", path);
}

static int open_directory(struct out_file *file, const char *path)
{
    const char *slash = strrchr(path, '/');
    const char *name = slash ? slash + 1 : path;
    char directory[PATH_MAX] = ".";
    if (!*name || streq(name, ".") || streq(name, ".."))
        return -EISDIR;
    if (strlen(name) >= sizeof(file->name) || strlen(path) >= sizeof(directory))
        return -ENAMETOOLONG;
    if (slash)
        (void)snprintf(directory, sizeof(directory), "%.*s/", (int)(slash - path), path);
    (void)snprintf(file->name, sizeof(file->name), "%s", name);
    file->dir_fd = open(directory, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    return file->dir_fd < 0 ? -errno : 0;
}

static int open_stdout(struct out_file *file, struct error *err)
{
    if (isatty(STDOUT_FILENO))
        return fail(err, ERROR_INVALID, EINVAL,
                    "standard output is a terminal, which is no place for an archive; "
                    "redirect it");
    file->fd = STDOUT_FILENO;
    return 0;
}

/* A symbolic link stays, and what it leads to is replaced. */
static int open_new(struct out_file *file, const char *path)
{
    char resolved[PATH_MAX];
    struct stat st;
    bool is_link = lstat(path, &st) == 0 && S_ISLNK(st.st_mode);
    int r = open_directory(file, is_link && realpath(path, resolved) ? resolved : path);
    if (r == 0)
        r = new_file_make(file->dir_fd, 0600, &file->new);
    file->fd = file->new.fd;
    return r;
}

int out_file_open(const char *path, struct out_file *ret, struct error *err)
{
    static const struct out_file none = OUT_FILE_NONE;
    _cleanup_out_file_ struct out_file file = none;
    struct stat st;
    int r = 0;
    if (streq(path, "-")) {
        r = open_stdout(&file, err);
    } else if (stat(path, &st) == 0 && !S_ISREG(st.st_mode)) {
        file.fd = file.device_fd = open(path, O_WRONLY | O_NOCTTY | O_CLOEXEC);
        r = file.fd < 0 ? out_failed(path, errno, err) : 0;
    } else {
        r = open_new(&file, path);
        r = r < 0 ? out_failed(path, -r, err) : 0;
    }
    if (r < 0)
        return r;
    *ret = file;
    file = none;
    return 0;
}

int out_file_keep(struct out_file *file, struct error *err)
{
    int r = file->dir_fd >= 0 ? new_file_keep(&file->new, file->name) : 0;
    return r < 0 ? out_failed(file->name, -r, err) : 0;
}

void out_file_clear(struct out_file *file)
{
    new_file_clear(&file->new);
    file->dir_fd = fd_close(file->dir_fd);
    file->device_fd = fd_close(file->device_fd);
}
