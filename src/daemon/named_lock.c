/* SPDX-License-Identifier: Apache-2.0 */
/* Locks on things that have a name and no file of their own yet: the creation of a template, an
 * update session. A file in the runtime directory, gone with the last holder. Runs in isolated.
 */
#include "base/text.h"
#include "daemon/daemon.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <sys/file.h>
#include <sys/stat.h>

/* Whether the file at fd is still the one of that name. */
static bool is_named(int fd, int dir_fd, const char *name)
{
    struct stat held;
    struct stat named;
    return fstat(fd, &held) == 0 && fstatat(dir_fd, name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
           held.st_ino == named.st_ino && held.st_dev == named.st_dev;
}

int named_lock(struct daemon *daemon, const char *kind, const char *name,
               struct named_lock *ret, struct error *err)
{
    struct named_lock lock = {.daemon = daemon, .fd = -EBADF};
    (void)snprintf(lock.file, sizeof(lock.file), "%s.%s", kind, name);
    for (int tries = 0; tries < 100; tries++) {
        _cleanup_close_ int fd =
            openat(daemon->run_fd, lock.file, O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return fail(err, ERROR_SYSTEM, errno, "lock %s: ", lock.file);
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return fail(err, ERROR_BUSY, EBUSY,
                        "another command is at it: template \"%s\", %s; wait for it", name,
                        kind);
        /* the holder before us may have removed the file between our open and flock */
        if (is_named(fd, daemon->run_fd, lock.file)) {
            lock.fd = TAKE_FD(fd);
            *ret = lock;
            return 0;
        }
    }
    return fail(err, ERROR_BUSY, EBUSY, "lock %s: ", lock.file);
}

/* Files whose holder was killed. A taker that opened one meanwhile sees that it is gone. */
bool named_locks_sweep(struct daemon *daemon)
{
    bool swept = false;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(daemon->run_fd, "."));
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        if (!text_after(entry->d_name, "create.") && !text_after(entry->d_name, "update."))
            continue;
        _cleanup_close_ int fd =
            openat(daemon->run_fd, entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 &&
            is_named(fd, daemon->run_fd, entry->d_name))
            swept = unlinkat(daemon->run_fd, entry->d_name, 0) == 0 || swept;
    }
    return swept;
}

void named_lock_pass_on(const struct named_lock *lock)
{
    (void)unlinkat(lock->daemon->run_fd, lock->file, 0);
}

void named_unlock(struct named_lock *lock)
{
    if (lock->fd >= 0 && is_named(lock->fd, lock->daemon->run_fd, lock->file))
        (void)unlinkat(lock->daemon->run_fd, lock->file, 0);
    lock->fd = fd_close(lock->fd);
}
