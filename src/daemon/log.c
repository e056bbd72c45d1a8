/* SPDX-License-Identifier: Apache-2.0 */
/* Files of spec/log_ring.h, one for each detached sandbox. Runs in isolated as root, which
 * makes and hands them out and never reads what is in them. */
#include "daemon/daemon.h"
#include "spec/log_ring.h"

#include <fcntl.h>

static void path_of(const char *id, char path[static CLONE_NAME_SIZE + 8])
{
    (void)snprintf(path, CLONE_NAME_SIZE + 8, "logs/%s", id);
}

int log_make(struct daemon *daemon, const char *id, struct error *err)
{
    char path[CLONE_NAME_SIZE + 8];
    path_of(id, path);
    if (log_remove(daemon, id, err) < 0)
        return -err->errnum;
    int fd = log_ring_make(daemon->state_fd, path);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "log of %s: ", id) : fd;
}

int log_open(struct daemon *daemon, const char *id)
{
    char path[CLONE_NAME_SIZE + 8];
    path_of(id, path);
    int fd = openat(daemon->state_fd, path, O_RDONLY | O_CLOEXEC | O_NOFOLLOW);
    return fd < 0 ? -errno : fd;
}

int log_remove(struct daemon *daemon, const char *id, struct error *err)
{
    char path[CLONE_NAME_SIZE + 8];
    path_of(id, path);
    if (unlinkat(daemon->state_fd, path, 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "remove the log %s: ", path);
    return 0;
}
