/* SPDX-License-Identifier: Apache-2.0 */
/* See peer.h. Runs in isolated as root; the process looked at is the caller's, and may be
 * another one meanwhile, or none. */
#include "daemon/peer.h"

#include "base/buffer.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#define STATUS_MAX 65536
#define UID_LINE   "\nUid:"

static int read_credentials(int fd, struct ucred *ret)
{
    socklen_t length = sizeof(*ret);
    return getsockopt(fd, SOL_SOCKET, SO_PEERCRED, ret, &length) < 0 ? -errno : 0;
}

int peer_read(int fd, struct peer *ret, struct error *err)
{
    struct ucred credentials;
    int r = read_credentials(fd, &credentials);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "the client's credentials: ");
    *ret = (struct peer){.uid = credentials.uid, .gid = credentials.gid};
    socklen_t length = sizeof(ret->groups);
    if (getsockopt(fd, SOL_SOCKET, SO_PEERGROUPS, ret->groups, &length) < 0)
        return fail(err, ERROR_SYSTEM, errno,
                    "the client's groups (more than %d supplementary ones are not supported): ",
                    START_GROUPS);
    ret->n_groups = length / sizeof(gid_t);
    return 0;
}

bool peer_is_in(const struct peer *peer, gid_t gid)
{
    bool is = peer->gid == gid;
    for (size_t i = 0; i < peer->n_groups && !is; i++)
        is = peer->groups[i] == gid;
    return is;
}

int peer_pidfd(int fd)
{
    const int peer_pidfd_option = 77; /* SO_PEERPIDFD, of <asm-generic/socket.h> since 6.5 */
    struct ucred credentials;
    int pidfd = -EBADF;
    socklen_t length = sizeof(pidfd);
    if (getsockopt(fd, SOL_SOCKET, peer_pidfd_option, &pidfd, &length) == 0)
        return pidfd;
    if (errno != ENOPROTOOPT)
        return errno == EINVAL || errno == ENODATA ? -ESRCH : -errno;
    int r = read_credentials(fd, &credentials);
    return r < 0 ? r : pidfd_open_pid(credentials.pid);
}

/* As its real, effective, saved or file system's: it may be about to be another one. */
static int is_uid(pid_t pid, uid_t uid)
{
    char path[64];
    bool is = false;
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    int r = file_read_at(AT_FDCWD, path, STATUS_MAX, &text);
    if (r < 0)
        return r;
    const char *line = text.data ? strstr(text.data, UID_LINE) : NULL;
    const char *at = line ? line + strlen(UID_LINE) : "";
    for (size_t i = 0; i < 4; i++) {
        char *end = NULL;
        is = strtoul(at, &end, 10) == uid || is;
        if (end == at)
            return -EPROTO;
        at = end;
    }
    return is ? 0 : -EPERM;
}

int peer_owner(int fd, uid_t uid, uid_t *ret)
{
    struct ucred credentials;
    _cleanup_close_ int pidfd = peer_pidfd(fd);
    int r = pidfd < 0 ? pidfd : read_credentials(fd, &credentials);
    if (r < 0)
        return r;
    _cleanup_close_ int userns = userns_open(credentials.pid);
    int is = userns < 0 ? userns : is_uid(credentials.pid, uid);
    r = pidfd_signal(pidfd, 0); /* so that was no other one's number meanwhile */
    if (r == 0)
        r = is;
    return r < 0 ? r : userns_owner(userns, ret);
}
