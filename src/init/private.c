/* SPDX-License-Identifier: Apache-2.0 */
/* The directory of the command's user alone, below /run, which is the sandbox's own tmpfs: for
 * sockets of the caller's display and sound, which are mounted there, and the secrets that go
 * with them. Runs as root of the sandbox's user namespace, before the command; names and
 * contents are the caller's. */
#include "base/text.h"
#include "init/init.h"
#include "spec/display_path.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static unsigned digit(char c)
{
    return (unsigned)(c <= '9' ? c - '0' : c - 'a' + 10) & 15;
}

static int write_file(const struct start *start, int dir, const struct start_private *file)
{
    char content[DISPLAY_FILE_MAX];
    size_t n = strlen(file->hex) / 2;
    if (n > sizeof(content) || strchr(file->name, '/'))
        return -EPROTO;
    for (size_t i = 0; i < n; i++)
        content[i] = (char)(digit(file->hex[2 * i]) << 4 | digit(file->hex[2 * i + 1]));
    _cleanup_close_ int fd =
        openat(dir, file->name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0600);
    if (fd < 0)
        return -errno;
    int r = fd_write_all(fd, content, n);
    return r == 0 && fchown(fd, start->uid, start->gid) < 0 ? -errno : r;
}

/* A directory of the command's user; fd. */
static int make_own(const struct start *start, int parent, const char *name)
{
    _cleanup_close_ int dir = dir_make_at(parent, name, 0700);
    if (dir < 0)
        return dir;
    return fchownat(dir, "", start->uid, start->gid, AT_EMPTY_PATH) < 0 ? -errno : TAKE_FD(dir);
}

/* Of a socket at DIRECTORY/NAME/…, NAME: programs want it to be theirs, too. */
static int make_inner(const struct start *start, int dir, const char *target)
{
    char name[64];
    const char *rest = text_after(target, start->private_directory);
    size_t n = rest && *rest == '/' ? strcspn(rest + 1, "/") : 0;
    if (n == 0 || n >= sizeof(name) || rest[1 + n] != '/')
        return 0;
    (void)snprintf(name, sizeof(name), "%.*s", (int)n, rest + 1);
    _cleanup_close_ int inner = make_own(start, dir, name);
    return inner < 0 ? inner : 0;
}

static int fill(const struct start *start, int parent, const char *name)
{
    _cleanup_close_ int dir = make_own(start, parent, name);
    int r = dir < 0 ? dir : 0;
    for (uint32_t i = 0; i < start->n_private && r == 0; i++)
        r = write_file(start, dir, &start->private_files[i]);
    for (uint32_t i = 0; i < start->n_binds && r == 0; i++)
        r = make_inner(start, dir, start->binds[i].target);
    return r;
}

/* Where X servers in the sandbox have their sockets, too, whoever runs them. */
static int make_x11_directory(void)
{
    if (mkdir(DISPLAY_X11_DIRECTORY, 01777) < 0)
        return errno == EEXIST ? 0 : -errno;
    return fchmodat(AT_FDCWD, DISPLAY_X11_DIRECTORY, 01777, 0) < 0 ? -errno : 0;
}

int init_private(const struct start *start, struct error *err)
{
    const char *name = text_after(start->private_directory, DISPLAY_PARENT "/");
    if (!*start->private_directory)
        return 0;
    if (!name || strchr(name, '/'))
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: private directory");
    _cleanup_close_ int run = dir_open_at(AT_FDCWD, "/run");
    _cleanup_close_ int user = run < 0 ? run : dir_make_at(run, "user", 0755);
    int r = user < 0 ? user : fill(start, user, name);
    if (r == 0)
        r = make_x11_directory();
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "make %s in the sandbox: ", start->private_directory)
                 : 0;
}
