/* SPDX-License-Identifier: Apache-2.0 */
/* See foreign.h. Runs in isolated as root; the files are the callers'. */
#include "daemon/foreign.h"

#include "base/cleanup.h"
#include "base/log.h"
#include "daemon/decoder.h"
#include "daemon/servers.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#define CLOSING_MAX 16  /* processes of a uid, at once */
#define WAITING_MAX 256 /* files of a uid, behind those */

/* A process that closes a file of a server that does not answer never ends: each uid has its
 * own. */
struct owner {
    struct owner *next;
    uid_t uid;
    pid_t closing[CLOSING_MAX];
    int *fds; /* what came while all of these were at it: for the next one that is free */
    size_t n;
    size_t room;
    unsigned n_aborted; /* times that servers were */
};

static struct owner *owners;

/* Has a copy of them until isolated has closed its own, and of nothing else of isolated's: it
 * may never end. */
static _Noreturn void child(const int gate[2], const int *fds, size_t n)
{
    char byte = 0;
    int *keep = calloc(n + 1, sizeof(*keep));
    if (keep) {
        memcpy(keep, fds, n * sizeof(*keep));
        keep[n] = gate[0];
        (void)!close_others(keep, n + 1);
    }
    (void)!read(gate[0], &byte, 1);
    _exit(0);
}

static struct owner *find(uid_t uid)
{
    struct owner *owner = owners;
    while (owner && owner->uid != uid)
        owner = owner->next;
    return owner;
}

static struct owner *find_or_add(uid_t uid)
{
    struct owner *owner = find(uid);
    if (owner || !(owner = calloc(1, sizeof(*owner))))
        return owner;
    owner->uid = uid;
    owner->next = owners;
    owners = owner;
    return owner;
}

/* In a process of its own; false where none can be made, and they are still open. */
static bool close_apart(const int *fds, size_t n, pid_t *ret)
{
    int gate[2];
    _cleanup_close_ int pidfd = -EBADF;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return false;
    *ret = process_clone(0, -EBADF, &pidfd);
    if (*ret == 0) {
        (void)close(gate[1]);
        child(gate, fds, n);
    }
    bool is_made = *ret > 0;
    for (size_t i = 0; i < n && is_made; i++)
        fd_close(fds[i]);
    fd_close(gate[0]);
    fd_close(gate[1]);
    return is_made;
}

/* The same, if the owner may have one more. Root's own files are closed here where no process
 * can be made, as where the kernel has no call for it. */
static bool begin(struct owner *owner, const int *fds, size_t n)
{
    pid_t pid = 0;
    pid_t *slot = owner->closing;
    while (slot < owner->closing + CLOSING_MAX && *slot != 0)
        slot++;
    if (slot == owner->closing + CLOSING_MAX)
        return false;
    if (close_apart(fds, n, &pid))
        *slot = pid;
    for (size_t i = 0; i < n && pid <= 0 && owner->uid == 0; i++)
        fd_close(fds[i]);
    return pid > 0 || owner->uid == 0;
}

/* Nobody who means well has so many: what keeps them is ended, that of the owner's own first.
 */
static void free_from_servers(struct owner *owner)
{
    if (owner->uid == 0 || owner->n < WAITING_MAX * (owner->n_aborted + 1UL))
        return;
    owner->n_aborted++;
    servers_abort(NULL, owner->n_aborted > 1 ? UID_REFUSED : owner->uid);
}

static void wait_for_a_turn(struct owner *owner, const struct fd_list *list)
{
    if (owner->n == 0)
        log_warning("files of uid %u wait to be closed", owner->uid);
    if (owner->room - owner->n < list->n) {
        size_t room = 2 * owner->room + SOCKET_FDS_MAX;
        int *fds = reallocarray(owner->fds, room, sizeof(*fds));
        if (!fds) {
            log_warning("%zu files of uid %u stay open: no memory", list->n, owner->uid);
            return;
        }
        owner->fds = fds;
        owner->room = room;
    }
    for (size_t i = 0; i < list->n; i++)
        owner->fds[owner->n++] = list->fds[i];
    free_from_servers(owner);
}

/* Whether nothing of it is left. */
static bool reap(struct owner *owner)
{
    bool closes = false;
    for (size_t i = 0; i < CLOSING_MAX; i++) {
        if (owner->closing[i] != 0 && waitpid(owner->closing[i], NULL, WNOHANG) != 0)
            owner->closing[i] = 0;
        closes = closes || owner->closing[i] != 0;
    }
    if (owner->n == 0)
        return !closes;
    if (begin(owner, owner->fds, owner->n))
        owner->n = 0;
    return false;
}

void foreign_reap(void)
{
    for (struct owner **at = &owners; *at;) {
        struct owner *owner = *at;
        if (!reap(owner)) {
            at = &owner->next;
            continue;
        }
        *at = owner->next;
        free(owner->fds);
        free(owner);
    }
}

void foreign_close(uid_t uid, struct fd_list *list)
{
    if (list->n == 0)
        return;
    foreign_reap();
    struct owner *owner = find_or_add(uid);
    if (!owner)
        log_warning("%zu files of uid %u stay open: no memory", list->n, uid);
    else if (!begin(owner, list->fds, list->n))
        wait_for_a_turn(owner, list);
    list->n = 0;
}

/* Whoever comes next wants our locks: not before the child has let go of them. */
static void close_last(const struct owner *owner)
{
    int others[2];
    char byte = 0;
    pid_t ignored = 0;
    if (owner->n == 0 || pipe2(others, O_CLOEXEC) < 0)
        return;
    if (close_apart(owner->fds, owner->n, &ignored)) {
        fd_close(others[1]);
        (void)!read(others[0], &byte, 1); /* its end: the child has no copy of the other one */
    }
    fd_close(others[0]);
}

void foreign_close_all(void)
{
    foreign_reap();
    while (owners) {
        struct owner *owner = owners;
        owners = owner->next;
        close_last(owner);
        free(owner->fds);
        free(owner);
    }
}

bool foreign_is_stuck(uid_t uid)
{
    foreign_reap();
    const struct owner *owner = uid == 0 ? NULL : find(uid);
    return owner && owner->n >= WAITING_MAX;
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
        servers_abort(&refused, uid);
    bool found = refused.n > 0;
    foreign_close(uid, &refused);
    return found;
}
