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

#define CLOSING_MAX 16  /* processes of a uid, at once, */
#define WAITING_MAX 256 /* unless so many files wait for one of them */
#define OWNERS_MAX  64  /* uids of which nobody knows whose they are */

/* Open here, and to be closed. */
struct files {
    int *fds;
    size_t n;
    size_t room;
};

/* A process that closes a file of a server that does not answer never ends: each uid has its
 * own. */
struct owner {
    struct owner *next;
    uid_t uid;
    pid_t *closing;
    size_t n_closing;
    size_t room;
    struct files waiting; /* what came while all of these were at it: for the next one */
    struct files refused; /* what nobody closes before its servers are aborted, */
    bool everybodys;      /* these may be of anybody's, */
    pid_t aborting;       /* which this process aborts; 0 */
    size_t n_aborting;    /* for so many of them: what comes later waits for another one */
};

static struct owner *owners;

/* Without memory they stay open until isolated ends. */
static void add(struct files *files, uid_t uid, const int *fds, size_t n)
{
    if (n == 0)
        return;
    if (files->room - files->n < n) {
        size_t room = 2 * files->room + n;
        int *more = reallocarray(files->fds, room, sizeof(*more));
        if (!more) {
            log_warning("%zu files of uid %u stay open: no memory", n, uid);
            return;
        }
        files->fds = more;
        files->room = room;
    }
    memcpy(files->fds + files->n, fds, n * sizeof(*fds));
    files->n += n;
}

/* Each fork of isolated has a copy of all that is open, until it has closed that, and a closer
 * that is not the last who has a file closes nothing: another fork would, which is not at its
 * end. All of them inherit the write end of this pipe; it is another one after each closer, so
 * that what a closer gets ends when those before it have let go. */
static int forks[2] = {-EBADF, -EBADF};

void foreign_open(void)
{
    if (pipe2(forks, O_CLOEXEC) < 0)
        log_warning("foreign files: %s", strerror(errno));
}

/* Has a copy of them until isolated has closed its own, and of nothing else of isolated's: it
 * may never end. */
static _Noreturn void child(const int gate[2], int before, const int *fds, size_t n)
{
    char byte = 0;
    int *keep = calloc(n + 2, sizeof(*keep));
    (void)close(gate[1]);
    if (keep) {
        memcpy(keep, fds, n * sizeof(*keep));
        keep[n] = gate[0];
        keep[n + 1] = before;
    }
    bool alone = keep && close_others(keep, n + 2) == 0;
    (void)!read(gate[0], &byte, 1);
    if (alone)
        (void)!read(before, &byte, 1);
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

static void forget(struct owner *owner)
{
    free(owner->closing);
    free(owner->waiting.fds);
    free(owner->refused.fds);
    free(owner);
}

/* In a process of its own; false where none can be made, and they are still open. */
static bool close_apart(const int *fds, size_t n, pid_t *ret)
{
    int gate[2];
    int next[2];
    _cleanup_close_ int pidfd = -EBADF;
    if (pipe2(gate, O_CLOEXEC) < 0)
        return false;
    if (pipe2(next, O_CLOEXEC) < 0) {
        fd_close(gate[0]);
        fd_close(gate[1]);
        return false;
    }
    *ret = process_clone(0, -EBADF, &pidfd);
    if (*ret == 0)
        child(gate, forks[0], fds, n);
    bool is_made = *ret > 0;
    for (size_t i = 0; i < n && is_made; i++)
        fd_close(fds[i]);
    for (size_t i = 0; i < ELEMENTS(forks); i++) {
        fd_close(gate[i]);
        fd_close(is_made ? forks[i] : next[i]);
        forks[i] = is_made ? next[i] : forks[i];
    }
    return is_made;
}

static bool has_room(struct owner *owner)
{
    if (owner->n_closing < owner->room)
        return true;
    size_t room = 2 * owner->room + CLOSING_MAX;
    pid_t *more = reallocarray(owner->closing, room, sizeof(*more));
    if (!more)
        return false;
    owner->closing = more;
    owner->room = room;
    return true;
}

/* Closes what waits, if the owner may have one more process. Root's own files are closed here
 * where no process can be made, as where the kernel has no call for it. */
static void begin(struct owner *owner)
{
    pid_t pid = 0;
    struct files *files = &owner->waiting;
    if (files->n == 0 || (owner->n_closing >= CLOSING_MAX && files->n < WAITING_MAX))
        return;
    if (has_room(owner) && close_apart(files->fds, files->n, &pid))
        owner->closing[owner->n_closing++] = pid;
    for (size_t i = 0; i < files->n && pid <= 0 && owner->uid == 0; i++)
        fd_close(files->fds[i]);
    if (pid > 0 || owner->uid == 0)
        files->n = 0;
}

/* Root's servers answer. */
static bool has_servers(const struct owner *owner)
{
    return owner->uid != 0;
}

/* Where its own were not enough, or whose they are is not known, it is another one's. */
static bool are_everybodys(const struct owner *owner)
{
    return owner->everybodys || owner->uid == UID_REFUSED || owner->n_closing > 2 * CLOSING_MAX;
}

static void abort_all(struct owner *owner)
{
    if (owner->aborting != 0 || !has_servers(owner))
        return;
    owner->aborting = servers_abort_all(owner->uid, are_everybodys(owner), owner->refused.fds,
                                        owner->refused.n);
    owner->n_aborting = owner->refused.n;
    if (owner->aborting < 0)
        owner->aborting = 0; /* the next look at it tries again */
}

/* These can be closed. */
static void release(struct owner *owner, size_t n)
{
    struct files *refused = &owner->refused;
    add(&owner->waiting, owner->uid, refused->fds, n);
    refused->n -= n;
    if (refused->n > 0)
        memmove(refused->fds, refused->fds + n, refused->n * sizeof(*refused->fds));
    else
        owner->everybodys = false;
}

/* What was refused can be closed when the servers are ended. */
static void reap_abort(struct owner *owner)
{
    if (owner->aborting != 0) {
        if (waitpid(owner->aborting, NULL, WNOHANG) == 0)
            return;
        owner->aborting = 0;
        release(owner, owner->n_aborting);
    }
    if (owner->refused.n > 0 && has_servers(owner))
        abort_all(owner);
    else
        release(owner, owner->refused.n);
}

/* Whether nothing of it is left. */
static bool reap(struct owner *owner)
{
    size_t n = 0;
    for (size_t i = 0; i < owner->n_closing; i++)
        if (waitpid(owner->closing[i], NULL, WNOHANG) == 0)
            owner->closing[n++] = owner->closing[i];
    owner->n_closing = n;
    reap_abort(owner);
    begin(owner);
    return owner->n_closing == 0 && owner->waiting.n == 0 && owner->refused.n == 0 &&
           owner->aborting == 0;
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
        forget(owner);
    }
}

bool foreign_is_stuck(uid_t uid)
{
    foreign_reap();
    const struct owner *owner = uid == 0 ? NULL : find(uid);
    return owner && owner->n_closing > CLOSING_MAX;
}

bool foreign_is_crowded(void)
{
    size_t n = 0;
    for (const struct owner *owner = owners; owner && n < OWNERS_MAX; owner = owner->next)
        n++;
    return n == OWNERS_MAX;
}

void foreign_close(uid_t uid, struct fd_list *list)
{
    if (list->n == 0)
        return;
    foreign_reap();
    struct owner *owner = find_or_add(uid);
    if (!owner) {
        log_warning("%zu files of uid %u stay open: no memory", list->n, uid);
    } else {
        add(&owner->waiting, uid, list->fds, list->n);
        begin(owner);
        if (owner->waiting.n > 0)
            log_warning("files of uid %u wait to be closed", uid);
        /* nobody who means well has so many */
        if (owner->n_closing > CLOSING_MAX)
            abort_all(owner);
    }
    list->n = 0;
}

/* Whoever comes next wants our locks: not before the child has let go of them. */
static void close_last(struct owner *owner)
{
    int others[2];
    char byte = 0;
    pid_t ignored = 0;
    for (reap_abort(owner); owner->aborting != 0; reap_abort(owner))
        (void)waitid(P_PID, (id_t)owner->aborting, NULL, WEXITED | WNOWAIT);
    release(owner, owner->refused.n); /* also where no process could be made */
    if (owner->waiting.n == 0 || pipe2(others, O_CLOEXEC) < 0)
        return;
    if (close_apart(owner->waiting.fds, owner->waiting.n, &ignored)) {
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
        forget(owner);
    }
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
    struct fd_list files = {0};
    struct fd_list sockets = {0};
    for (size_t i = 0; i < list->n; i++) {
        int domain = socket_domain(list->fds[i]);
        if (is_harmless(list->fds[i], domain))
            continue;
        struct fd_list *to = domain < 0 ? &files : &sockets;
        to->fds[to->n++] = TAKE_FD(list->fds[i]);
    }
    bool found = files.n + sockets.n > 0;
    foreign_close(uid, &sockets);
    if (files.n == 0)
        return found;
    bool hidden = servers_abort_of(uid, &files);
    struct owner *owner = find_or_add(uid);
    if (!owner) {
        log_warning("%zu files of uid %u stay open: no memory", files.n, uid);
    } else {
        add(&owner->refused, uid, files.fds, files.n);
        owner->everybodys = owner->everybodys || hidden;
        abort_all(owner);
    }
    return found;
}
