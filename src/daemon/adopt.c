/* SPDX-License-Identifier: Apache-2.0 */
/* Adoption after a restart: a record whose lock is free and whose cgroup has a process 1 of a
 * pid namespace in it. Members of the cgroup, then a pidfd, then the members again: so the
 * pidfd is that of a member. Runs in isolated as root; what the kernel says of the processes is
 * all that is believed. */
#include "daemon/adopt.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/pool.h"
#include "daemon/quarantine.h"
#include "daemon/sandbox.h"
#include "daemon/stock.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#define TRIES 100

/* The line behind this one, or the end. */
static char *next_line(char *at)
{
    at += strcspn(at, "\n");
    return *at ? at + 1 : at;
}

static bool is_member(int leaf_fd, pid_t pid)
{
    _cleanup_buffer_ struct buffer text = {0};
    if (file_read_at(leaf_fd, "cgroup.procs", 1U << 20, &text) < 0 || !text.data)
        return false;
    for (char *at = text.data; *at; at = next_line(at))
        if ((pid_t)strtol(at, NULL, 10) == pid)
            return true;
    return false;
}

/* Whether it is process 1 of a namespace just below ours. */
static bool is_init(pid_t pid)
{
    char path[40];
    _cleanup_buffer_ struct buffer text = {0};
    (void)snprintf(path, sizeof(path), "/proc/%d/status", (int)pid);
    if (file_read_at(AT_FDCWD, path, 65536, &text) < 0 || !text.data)
        return false;
    const char *line = strstr(text.data, "\nNSpid:");
    char *inner = NULL;
    if (!line || strtol(line + sizeof("\nNSpid:") - 1, &inner, 10) != pid)
        return false;
    return strtol(inner, &inner, 10) == 1 && *inner == '\n';
}

/* The init of a leaf: its pid and pidfd, or -ESRCH. */
static int find_init(int leaf_fd, pid_t *ret_pid, int *ret_pidfd)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(leaf_fd, "cgroup.procs", 1U << 20, &text);
    if (r < 0 || !text.data)
        return r < 0 ? r : -ESRCH;
    for (char *at = text.data; *at; at = next_line(at)) {
        pid_t pid = (pid_t)strtol(at, NULL, 10);
        if (pid <= 0 || !is_init(pid))
            continue;
        _cleanup_close_ int pidfd = pidfd_open_pid(pid);
        if (pidfd < 0 || !is_member(leaf_fd, pid))
            continue;
        *ret_pid = pid;
        *ret_pidfd = TAKE_FD(pidfd);
        return 0;
    }
    return -ESRCH;
}

static int fill(struct body *body, const char *id, struct error *err)
{
    struct daemon *daemon = body->daemon;
    if (!streq(body->record.state, "running"))
        return fail(err, ERROR_INVALID, ESTALE, "%s: had not started: ", id);
    body->cgroup_fd = cgroup_open(daemon->cgroup_fd, id);
    int r = body->cgroup_fd < 0
                ? body->cgroup_fd
                : find_init(body->cgroup_fd, &body->instance.pid, &body->instance.pidfd);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "%s: its first process: ", id);
    r = engine_find(body->record.engine, &body->engine, err);
    if (r == 0)
        r = storage_open(body->record.storage, daemon->state_fd, &body->storage, err);
    if (r < 0)
        return r;
    _cleanup_close_ int kept = records_kept(daemon, err);
    if (kept < 0)
        return kept;
    /* whoever else just looks at it may have the lock */
    body->kept_lock_fd = record_lock(kept, id);
    body->kept = body->kept_lock_fd != -ENOENT;
    body->has_ids = true;
    return 0;
}

/* A clone that nothing was started in yet: for the pool. */
static void adopt_fresh(struct body *body, struct error *err)
{
    if (storage_open(body->record.storage, body->daemon->state_fd, &body->storage, err) == 0)
        (void)pool_adopt_fresh(body->daemon, body);
}

struct adoption {
    struct daemon *daemon;
    int records_fd;
    unsigned n;
    unsigned
        tries; /* of 10 ms, for records that somebody just looks at; one-shots keep theirs */
};

static int lock_patiently(struct adoption *adoption, const char *id)
{
    int fd = record_lock(adoption->records_fd, id);
    for (; fd == -EBUSY && adoption->tries > 0; adoption->tries--) {
        (void)poll(NULL, 0, 10);
        fd = record_lock(adoption->records_fd, id);
    }
    return fd;
}

/* It is killed, and its pid 1 waits for processes that the kernel holds: it does not end, but
 * it counts against its owner's quota, and no recovery is to wait for it. */
static void quarantine_headless(struct body *body)
{
    struct error err = {0};
    const struct record *record = &body->record;
    _cleanup_close_ int leaf = cgroup_open(body->daemon->cgroup_fd, record->id);
    if ((!streq(record->state, "running") && !streq(record->state, "destroying")) || leaf < 0 ||
        cgroup_is_populated(leaf) != 1)
        return;
    if (cgroup_kill(leaf) < 0)
        log_warning("sandbox %s: cannot be killed", record->id);
    (void)fail(&err, ERROR_BUSY, EBUSY, "its processes do not end");
    quarantine_mark(body->daemon, &body->record, &body->lock_fd, &err);
    quarantine_add(body->daemon, &body->record);
}

static int adopt_one(void *data, const char *id)
{
    struct adoption *adoption = data;
    struct error err = {0};
    struct body body;
    body_init(&body, adoption->daemon);
    body.lock_fd = lock_patiently(adoption, id);
    int r = body.lock_fd < 0 ? body.lock_fd
                             : record_read(adoption->records_fd, id, &body.record, &err);
    if (r == 0 && stock_has(body.daemon, id)) {
        /* stays where it is */
    } else if (r == 0 && streq(body.record.state, "fresh")) {
        adopt_fresh(&body, &err);
    } else if (r == 0 && streq(body.record.state, "quarantined")) {
        quarantine_add(body.daemon, &body.record);
    } else if (r == 0) {
        r = fill(&body, id, &err);
        if (r == 0)
            r = sandbox_adopt(&body, &err);
        if (r == 0)
            adoption->n++;
    }
    if (r == -ESRCH || r == -ESTALE)
        quarantine_headless(&body);
    body_clear(&body); /* what else is not adopted is left to the recovery */
    return 0;
}

int adopt_all(struct daemon *daemon, struct error *err)
{
    _cleanup_close_ int records = records_running(daemon, err);
    if (records < 0)
        return records;
    struct adoption adoption = {.daemon = daemon, .records_fd = records, .tries = TRIES};
    int r = record_for_each(records, adopt_one, &adoption);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "records: ");
    if (adoption.n > 0)
        log_note("%u sandboxes of an earlier isolated go on", adoption.n);
    return 0;
}
