/* SPDX-License-Identifier: Apache-2.0 */
/* The removers: a sandbox may leave millions of files, and the destroyer, which takes away one
 * body after the other, is not to be held up by one of them. What it cannot remove soon it
 * leaves in the trash, with its record (locked) and its id range, which files there are still
 * stored with, and has it removed by a fork of its own: one at a time for each owner of
 * sandboxes, so that nobody's wait for another's. Run as root over what sandboxes left, which
 * is hostile and only removed. */
#include "daemon/removals.h"

#include "base/log.h"
#include "base/text.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <linux/ioprio.h>
#include <poll.h>
#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define PATIENCE_MS  100  /* of the destroyer, for one clone */
#define AGAIN_MS     10   /* for another one of somebody who has left too much already */
#define RETRY_MS     1000 /* where there is no process to be had */
#define REMOVERS_MAX 8
#define LONG_OVER_MS 1 /* a time that has passed since the boot */
#define NOBODY       ((uint32_t)-1)

/* Exit status of a remover, added up. */
enum { SOMETHING_STAYS = 1, TRASH_FOUND = 2 };

struct removal {
    struct removal *next;
    uint32_t order;   /* or 0 */
    struct body body; /* with an id of "": all trash of the storage that the record names */
    pid_t pid;        /* 0: it is not being removed yet */
    int pidfd;
};

uint64_t removals_end_ms(const struct daemon *daemon, uint32_t owner_uid)
{
    const struct removals *removals = daemon->removals;
    uint64_t patience_ms = PATIENCE_MS;
    if (!removals || removals->is_remover)
        return 0;
    for (const struct removal *one = removals->first; one; one = one->next)
        if (one->body.record.owner_uid == owner_uid)
            patience_ms = AGAIN_MS;
    return time_now_ms() + patience_ms;
}

int removals_add(struct daemon *daemon, struct body *take_body, uint32_t order)
{
    struct removal **at = &daemon->removals->first;
    struct removal *removal = calloc(1, sizeof(*removal));
    if (!removal) {
        body_clear(take_body);
        return -ENOMEM;
    }
    removal->order = order;
    removal->pidfd = -EBADF;
    body_move(&removal->body, take_body);
    while (*at)
        at = &(*at)->next;
    *at = removal;
    return 0;
}

void removals_add_record(struct daemon *daemon, struct record *take_record, int take_lock)
{
    struct body body;
    body_init(&body, daemon);
    body.record = *take_record;
    *take_record = (struct record){0};
    body.lock_fd = take_lock;
    if (removals_add(daemon, &body, 0) < 0)
        log_warning("a sandbox is left to the next recovery: %s", strerror(ENOMEM));
}

/* All trash of a storage, unless that is waiting already. */
static void add_trash(struct daemon *daemon, const char *storage)
{
    struct body body;
    for (const struct removal *one = daemon->removals->first; one; one = one->next)
        if (!*one->body.record.id && one->pid == 0 && streq(one->body.record.storage, storage))
            return;
    body_init(&body, daemon);
    body.record.owner_uid = NOBODY;
    (void)snprintf(body.record.storage, sizeof(body.record.storage), "%s", storage);
    if (removals_add(daemon, &body, 0) < 0)
        log_warning("storage %s: its trash is left to the next collection", storage);
}

int removals_collect(struct daemon *daemon, struct storage *storage, struct error *err)
{
    struct removals *removals = daemon->removals;
    storage->remove_until_ms = removals ? LONG_OVER_MS : 0;
    int r = storage->driver->collect(storage, err);
    storage->remove_until_ms = 0;
    if (r != -EAGAIN || !removals)
        return r;
    if (removals->is_remover)
        removals->found_trash = true; /* the destroyer's to see to */
    else
        add_trash(daemon, storage->name);
    return 0;
}

static int empty_trash(struct daemon *daemon, const char *name)
{
    struct error err = {0};
    _cleanup_storage_ struct storage storage = {0};
    int r = storage_open(name, daemon->state_fd, &storage, &err);
    if (r == 0)
        r = storage.driver->collect(&storage, &err);
    if (r < 0)
        log_warning("%s", err.text);
    return r;
}

/* Behind everything else that wants to compute or to use the disk. */
static void give_way(void)
{
    const struct sched_param none = {0};
    (void)sched_setscheduler(0, SCHED_BATCH, &none); /* not the destroyer's of the moment */
    (void)setpriority(PRIO_PROCESS, 0, 19);
    (void)syscall(SYS_ioprio_set, IOPRIO_WHO_PROCESS, 0,
                  IOPRIO_PRIO_VALUE(IOPRIO_CLASS_IDLE, 0));
}

static _Noreturn void remover(struct daemon *daemon, struct removal *own, int link_fd,
                              pid_t destroyer)
{
    struct removals *removals = daemon->removals;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    if (getppid() != destroyer)
        _exit(SOMETHING_STAYS);
    fd_close(link_fd); /* whose end isolated waits for */
    for (struct removal *one = removals->first; one; one = one->next)
        if (one != own)
            one->body.lock_fd = fd_close(one->body.lock_fd);
    give_way();
    removals->is_remover = true;
    int r = *own->body.record.id ? body_destroy(&own->body)
                                 : empty_trash(daemon, own->body.record.storage);
    _exit((r < 0 ? SOMETHING_STAYS : 0) | (removals->found_trash ? TRASH_FOUND : 0));
}

/* How many removers work, and whether one does for that owner. */
static unsigned count_working(const struct removals *removals, uint32_t uid, bool *ret_busy)
{
    unsigned n = 0;
    *ret_busy = false;
    for (const struct removal *one = removals->first; one; one = one->next)
        if (one->pid > 0) {
            n++;
            *ret_busy = *ret_busy || one->body.record.owner_uid == uid;
        }
    return n;
}

/* False where one could be started but for want of processes or memory. */
static bool start_removers(struct daemon *daemon, int link_fd)
{
    pid_t self = getpid();
    for (struct removal *one = daemon->removals->first; one; one = one->next) {
        bool busy = false;
        unsigned n = count_working(daemon->removals, one->body.record.owner_uid, &busy);
        if (n >= REMOVERS_MAX)
            return true;
        if (one->pid > 0 || busy)
            continue;
        pid_t pid = process_clone(0, -EBADF, &one->pidfd);
        if (pid == 0)
            remover(daemon, one, link_fd, self);
        if (pid < 0)
            return false;
        one->pid = pid;
    }
    return true;
}

static void finish(struct daemon *daemon, struct removal *take_removal, int status,
                   removal_ended ended)
{
    struct body *body = &take_removal->body;
    bool has_ended = WIFEXITED(status);
    if (has_ended && WEXITSTATUS(status) & TRASH_FOUND)
        add_trash(daemon, body->record.storage);
    body_clear(body); /* its lock, too: what stays is the recovery's */
    if (take_removal->order > 0)
        ended(take_removal->order,
              has_ended && !(WEXITSTATUS(status) & SOMETHING_STAYS) ? 0 : -EBUSY);
    fd_close(take_removal->pidfd);
    free(take_removal);
}

static void reap_removers(struct daemon *daemon, removal_ended ended)
{
    for (struct removal **at = &daemon->removals->first; *at;) {
        struct removal *one = *at;
        int status = 0;
        if (one->pid == 0 || waitpid(one->pid, &status, WNOHANG) != one->pid) {
            at = &one->next;
            continue;
        }
        *at = one->next;
        finish(daemon, one, status, ended);
    }
}

int removals_wait(struct daemon *daemon, int link_fd, removal_ended ended)
{
    struct pollfd fds[1 + REMOVERS_MAX];
    do {
        nfds_t n = 0;
        reap_removers(daemon, ended);
        bool patient = start_removers(daemon, link_fd);
        fds[n++] = (struct pollfd){.fd = link_fd, .events = POLLIN};
        for (struct removal *one = daemon->removals->first; one; one = one->next)
            if (one->pid > 0)
                fds[n++] = (struct pollfd){.fd = one->pidfd, .events = POLLIN};
        if (poll(fds, n, patient ? -1 : RETRY_MS) < 0 && errno != EINTR)
            return -errno;
    } while (fds[0].revents == 0);
    return 0;
}
