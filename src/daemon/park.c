/* SPDX-License-Identifier: Apache-2.0 */
/* See park.h. Runs in isolated as root. */
#include "daemon/park.h"

#include <sys/socket.h>
#include <sys/un.h>

/* By way of the directory's fd, so that no length of its path matters. */
static void address_of(struct daemon *daemon, const char *id, struct sockaddr_un *ret)
{
    *ret = (struct sockaddr_un){.sun_family = AF_UNIX};
    (void)snprintf(ret->sun_path, sizeof(ret->sun_path), "/proc/self/fd/%d/parks/%.83s",
                   daemon->run_fd, id);
}

int park_listen(struct daemon *daemon, const char *id, struct error *err)
{
    struct sockaddr_un address;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (park_remove(daemon, id, err) < 0)
        return -err->errnum;
    address_of(daemon, id, &address);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0 ||
        listen(fd, 2) < 0)
        return fail(err, ERROR_SYSTEM, errno, "%s: socket of its init: ", id);
    return TAKE_FD(fd);
}

int park_connect(struct daemon *daemon, const char *id)
{
    struct sockaddr_un address;
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    address_of(daemon, id, &address);
    if (fd < 0)
        return -errno;
    socket_refuse_fds(fd);
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return -errno;
    return TAKE_FD(fd);
}

int park_remove(struct daemon *daemon, const char *id, struct error *err)
{
    char path[CLONE_NAME_SIZE + 8];
    (void)snprintf(path, sizeof(path), "parks/%s", id);
    if (unlinkat(daemon->run_fd, path, 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "remove the socket %s: ", path);
    return 0;
}
