/* SPDX-License-Identifier: Apache-2.0 */
/* Files that appear when they are complete. Runs as whoever writes them. */
#include "sys/new_file.h"

#include "sys/fd.h"

#include <fcntl.h>
#include <inttypes.h>
#include <stdio.h>
#include <sys/stat.h>
#include <unistd.h>

static void hidden_name(struct new_file *file)
{
    uint64_t random = 0;
    random_fill(&random, sizeof(random));
    (void)snprintf(file->hidden, sizeof(file->hidden), ".new-%016" PRIx64, random);
}

int new_file_make(int dir_fd, unsigned mode, struct new_file *ret)
{
    struct new_file file = {.dir_fd = dir_fd};
    file.fd = openat(dir_fd, ".", O_TMPFILE | O_WRONLY | O_CLOEXEC, mode);
    if (file.fd < 0 && (errno == EOPNOTSUPP || errno == EISDIR)) {
        hidden_name(&file);
        file.fd = openat(dir_fd, file.hidden,
                         O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, mode);
    }
    if (file.fd < 0)
        return -errno;
    *ret = file;
    return 0;
}

static int give_hidden_name(struct new_file *file)
{
    hidden_name(file);
    if (linkat(AT_FDCWD, fd_path(file->fd).text, file->dir_fd, file->hidden,
               AT_SYMLINK_FOLLOW) == 0)
        return 0;
    file->hidden[0] = '\0';
    return -errno;
}

int new_file_keep(struct new_file *file, const char *name)
{
    int r = fsync(file->fd) < 0 ? -errno : 0;
    if (r == 0 && !file->hidden[0]) /* linkat replaces nothing */
        r = give_hidden_name(file);
    if (r == 0 && renameat(file->dir_fd, file->hidden, file->dir_fd, name) < 0)
        r = -errno;
    if (r == 0)
        file->hidden[0] = '\0';
    return r;
}

void new_file_clear(struct new_file *file)
{
    if (file->hidden[0])
        (void)unlinkat(file->dir_fd, file->hidden, 0);
    file->hidden[0] = '\0';
    file->fd = fd_close(file->fd);
}
