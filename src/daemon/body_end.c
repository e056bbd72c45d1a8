/* SPDX-License-Identifier: Apache-2.0 */
/* Ending a sandbox and taking it apart, and what its owner's hooks see of it meanwhile. Runs in
 * isolated as root. */
#include "daemon/body.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/park.h"
#include "daemon/quarantine.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <signal.h>
#include <string.h>
#include <sys/wait.h>

#define CGROUP_TIMEOUT_MS 5000
#define END_TIMEOUT_MS    1000
#define HUNG_TIMEOUT_MS   50    /* after another one, */
#define HUNG_MS           60000 /* for so long */

int body_open_view(struct body *body, int one_off_root, struct error *err)
{
    const struct record *record = &body->record;
    const struct storage_viewer viewer = {record->owner_uid, body->owner_gid, record->first_id};
    if (!body->views || !(body->storage.driver->capabilities & STORAGE_VIEWS))
        return 0;
    return storage_view(&body->storage, record->id, &viewer, one_off_root, &body->view_fd, err);
}

int body_close_view(struct body *body)
{
    if (body->view_fd < 0)
        return 0;
    int r = body->storage.driver->settle(&body->storage, body->view_fd);
    /* and where the file system is not the clone's own, at least nothing new is opened */
    (void)!mount_set_attributes(body->view_fd, false, MOUNT_ATTR_RDONLY, 0, -EBADF);
    body->view_fd = fd_close(body->view_fd);
    return r;
}

/* The cgroup knows the times of all, also of what was not our child (after a restart) and of
 * those in a foreign engine's namespace whose end nobody waited for. */
static void usage_of_cgroup(struct body *body)
{
    uint64_t user_us = 0;
    uint64_t system_us = 0;
    struct rusage *usage = &body->usage;
    if (body->cgroup_fd < 0 ||
        cgroup_read_value(body->cgroup_fd, "cpu.stat", "user_usec ", &user_us) < 0 ||
        cgroup_read_value(body->cgroup_fd, "cpu.stat", "system_usec ", &system_us) < 0)
        return;
    usage->ru_utime =
        (struct timeval){(time_t)(user_us / 1000000), (suseconds_t)(user_us % 1000000)};
    usage->ru_stime =
        (struct timeval){(time_t)(system_us / 1000000), (suseconds_t)(system_us % 1000000)};
}

/* pid 1 takes its whole namespace along before it can be waited for. One that hangs in the
 * kernel, on a pool of ZFS that is suspended, is left to whoever settles the body, and to
 * nursery_reap_lost: this may be the event loop. */
static void reap(struct body *body)
{
    const struct engine_instance *instance = &body->instance;
    uint64_t *hung_ms = &body->daemon->hung_ms;
    bool lately = *hung_ms > 0 && time_now_ms() - *hung_ms < HUNG_MS;
    int patience_ms = body->hangs ? 0 : lately ? HUNG_TIMEOUT_MS : END_TIMEOUT_MS;
    int ended = pidfd_wait(instance->pidfd, patience_ms);
    if (ended == 0) {
        *hung_ms = time_now_ms();
        log_warning("sandbox %s: pid %d is killed and does not end", body->record.id,
                    (int)instance->pid);
        return;
    }
    /* of another process's child only the end can be seen */
    if (wait4(instance->pid, NULL, 0, &body->usage) < 0 && errno != ECHILD)
        log_warning("sandbox %s: wait: %s", body->record.id, strerror(errno));
}

void body_end(struct body *body)
{
    struct engine_instance *instance = &body->instance;
    if (instance->pid > 0) {
        (void)!pidfd_signal(instance->pidfd, SIGKILL);
        reap(body);
        usage_of_cgroup(body);
        instance->pid = 0;
    }
    engine_instance_clear(instance);
}

/* An fd that a process passed to another sandbox through a shared bind may live on: nothing may
 * be written through it into what is kept, committed or removed. */
static void close_root(struct body *body)
{
    if (body->root_fd < 0)
        return;
    body->record.open_elsewhere =
        body->storage.driver->settle(&body->storage, body->root_fd) < 0;
    body->root_fd = fd_close(body->root_fd);
}

void body_settle(struct body *body)
{
    if (body->cgroup_fd >= 0) {
        int r = cgroup_destroy(body->daemon->cgroup_fd, body->record.id,
                               body->hangs ? 0 : CGROUP_TIMEOUT_MS);
        body->stays = r < 0;
        body->cgroup_fd = fd_close(body->cgroup_fd);
    }
    close_root(body);
    body->record.open_elsewhere = body_close_view(body) < 0 || body->record.open_elsewhere;
}

/* Without it the hook runs all the same. Two who write into one overlay are never let. */
void body_settle_for_view(struct body *body)
{
    struct error err = {0};
    body_settle(body);
    if (body->stays || body->record.open_elsewhere)
        (void)fail(&err, ERROR_BUSY, EBUSY, "something of it is still in use");
    else if (body_open_view(body, -EBADF, &err) == 0)
        return;
    log_warning("sandbox %s: its clone cannot be shown to the hook behind its end: %s",
                body->record.id, err.text);
}

/* What the kept record says from now on: what isolate wrote into the clone. */
static void update_kept(struct body *body)
{
    struct error err = {0};
    struct record kept = body->record;
    (void)snprintf(kept.state, sizeof(kept.state), "kept");
    _cleanup_close_ int dir = records_kept(body->daemon, &err);
    if (dir < 0 || record_write(dir, &kept, &body->kept_lock_fd, &err) < 0)
        log_warning("%s", err.text);
}

static bool stays_kept(const struct body *body)
{
    return body->restarted || (body->kept && body->kept_lock_fd >= 0);
}

bool body_is_disposable(const struct body *body)
{
    return body->lock_fd >= 0 && !body->stays && !stays_kept(body);
}

int body_destroy(struct body *body)
{
    struct error err = {0};
    struct daemon *daemon = body->daemon;
    struct record *record = &body->record;
    if (daemon_follow_cgroup(daemon, &err) < 0)
        log_warning("%s", err.text);
    body_settle(body);
    if (body->lock_fd < 0) { /* no record: nothing was made */
        if (body->has_ids && !body->restarted &&
            ids_free(daemon, record->id, record->first_id, &err) < 0)
            log_warning("%s", err.text);
        return 0;
    }
    if (body->stays) {
        (void)fail(&err, ERROR_BUSY, EBUSY, "its processes do not end");
        quarantine_mark(daemon, record, &body->lock_fd, &err);
        return -EBUSY;
    }
    if (stays_kept(body)) {
        if (park_remove(daemon, record->id, &err) < 0)
            log_warning("%s", err.text); /* the next start of it tries again */
        if (body->kept_lock_fd >= 0)
            update_kept(body); /* else its lock, and its record, are with who asked */
    } else {
        int r = recover_destroy(daemon, record, &err);
        if (r > 0)
            return r;
        if (r < 0) {
            quarantine_mark(daemon, record, &body->lock_fd, &err);
            return r;
        }
    }
    _cleanup_close_ int records = records_running(daemon, &err);
    int r = records < 0 ? records : record_remove(records, record->id);
    if (r < 0) {
        (void)fail(&err, ERROR_SYSTEM, r, "remove its record: ");
        quarantine_mark(daemon, record, &body->lock_fd, &err);
    }
    return r;
}
