/* SPDX-License-Identifier: Apache-2.0 */
/* See foreign.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/foreign.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "spec/ids_owned.h"
#include "sys/fd.h"
#include "sys/fuse.h"
#include "sys/process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLOSING_MAX 64

/* Has a copy of every fd until isolated has closed its own. */
static _Noreturn void child(const int gate[2])
{
    char byte = 0;
    (void)close(gate[1]);
    (void)!read(gate[0], &byte, 1);
    _exit(0);
}

/* Those that are at it. One that closes a file of a server that does not answer never ends. */
static pid_t closing[CLOSING_MAX];

/* What came while all of these were at it: all of it is for the next one that is free. */
static struct {
    int *fds;
    size_t n;
    size_t room;
} waiting;

/* In a process of its own, if there may be one more; else false, and they are still open. Where
 * none can be made they are closed here. */
static bool close_apart(const int *fds, size_t n)
{
    int gate[2];
    _cleanup_close_ int pidfd = -EBADF;
    pid_t *slot = closing;
    while (slot < closing + CLOSING_MAX && *slot != 0)
        slot++;
    if (slot == closing + CLOSING_MAX)
        return false;
    bool gated = pipe2(gate, O_CLOEXEC) == 0;
    pid_t pid = gated ? process_clone(0, -EBADF, &pidfd) : -errno;
    if (pid == 0)
        child(gate);
    if (pid > 0)
        *slot = pid;
    for (size_t i = 0; i < n; i++)
        fd_close(fds[i]);
    if (gated) {
        fd_close(gate[0]);
        fd_close(gate[1]);
    }
    return true;
}

/* Their owner sees the end of its sockets at once. */
static void wait_for_a_turn(const struct fd_list *list)
{
    if (waiting.n == 0)
        log_warning("files of callers wait to be closed: many others are slow to close");
    for (size_t i = 0; i < list->n; i++)
        if (shutdown(list->fds[i], SHUT_RDWR) < 0)
            errno = 0; /* it is no socket */
    if (waiting.room - waiting.n < list->n) {
        size_t room = 2 * waiting.room + SOCKET_FDS_MAX;
        int *fds = reallocarray(waiting.fds, room, sizeof(*fds));
        if (!fds) {
            log_warning("%zu files of a caller stay open: no memory", list->n);
            return;
        }
        waiting.fds = fds;
        waiting.room = room;
    }
    for (size_t i = 0; i < list->n; i++)
        waiting.fds[waiting.n++] = list->fds[i];
}

void foreign_reap(void)
{
    for (size_t i = 0; i < CLOSING_MAX; i++)
        if (closing[i] != 0 && waitpid(closing[i], NULL, WNOHANG) != 0)
            closing[i] = 0;
    if (waiting.n > 0 && close_apart(waiting.fds, waiting.n))
        waiting.n = 0;
}

void foreign_close(struct fd_list *list)
{
    if (list->n == 0)
        return;
    foreign_reap();
    if (!close_apart(list->fds, list->n))
        wait_for_a_turn(list);
    list->n = 0;
}

/* Whether it can be held and closed here without ever waiting for a file system. Looks at the
 * description only, never at the file. */
static bool is_harmless(int fd, int domain)
{
    int flags = fcntl(fd, F_GETFL);
    return domain == AF_UNIX || (flags >= 0 && (flags & O_PATH));
}

/* -1: it is no socket */
static int socket_domain(int fd)
{
    int domain = -1;
    socklen_t length = sizeof(domain);
    return getsockopt(fd, SOL_SOCKET, SO_DOMAIN, &domain, &length) < 0 ? -1 : domain;
}

/* What may wait for a server, and who has sent it. */
struct suspects {
    const struct fd_list *files;
    uid_t uid;
};

/* The file itself may be of a file system that lies on one of a server's. */
static bool is_theirs(const struct fuse_mount *mount, const void *data)
{
    const struct suspects *suspects = data;
    struct ids_owner ignored;
    for (size_t i = 0; i < suspects->files->n; i++) {
        uint32_t major = 0;
        uint32_t minor = 0;
        if (fuse_device_of(suspects->files->fds[i], &major, &minor) == 0 && major == 0 &&
            minor == mount->minor)
            return true;
    }
    return mount->uid == suspects->uid || ids_owned_subordinate(mount->uid, &ignored, NULL) > 0;
}

static void abort_servers(const struct fd_list *files, uid_t uid)
{
    const struct suspects suspects = {files, uid};
    int n = fuse_abort(is_theirs, &suspects);
    if (n < 0)
        log_warning("file systems of uid %u cannot be aborted: %s", uid, strerror(-n));
    else
        log_warning("uid %u, or who has taken its decoder over, has sent files that may hang: "
                    "%d FUSE file systems are aborted",
                    uid, n);
}

bool foreign_refuse(uid_t uid, struct fd_list *list)
{
    struct fd_list refused = {0};
    bool files = false;
    for (size_t i = 0; i < list->n; i++) {
        int domain = socket_domain(list->fds[i]);
        if (is_harmless(list->fds[i], domain))
            continue;
        files = files || domain < 0;
        refused.fds[refused.n++] = TAKE_FD(list->fds[i]);
    }
    if (files)
        abort_servers(&refused, uid);
    bool found = refused.n > 0;
    foreign_close(&refused);
    return found;
}
