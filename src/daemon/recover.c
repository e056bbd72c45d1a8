/* SPDX-License-Identifier: Apache-2.0 */
/* Recovery: what killed processes left is finished by the next command. A record whose lock is
 * free belongs to nobody. After a boot (the runtime directory is empty) clones without a record
 * go and kept sandboxes get their id ranges back. Runs in isolated as root. What isolate did
 * not make is never touched. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/park.h"
#include "daemon/quarantine.h"
#include "daemon/recovery.h"
#include "daemon/removals.h"
#include "daemon/stock.h"
#include "storage/location.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

#define CGROUP_TIMEOUT_MS 5000
#define LIVES_ON_TRIES    30 /* of 10 ms */
#define STALE_SECONDS     60 /* of a cgroup, to be sure */

bool recovery_has_record(int dir_fd, const char *id)
{
    return file_exists_at(dir_fd, id) != 0;
}

void recover_warn(json_t *warnings, const struct error *why)
{
    char text[ERROR_TEXT_MAX + 32];
    char escaped[2 * sizeof(text)];
    (void)snprintf(text, sizeof(text), "%s (see `isolate doctor`)", why->text);
    log_warning("%s", text);
    text_escape(escaped, sizeof(escaped), text); /* JSON is UTF-8 */
    if (warnings)
        (void)json_array_append_new(warnings, json_string(escaped));
}

/* The sandbox that a range names; false where somebody is just taking it. */
static bool holder_of_range(int dir_fd, const char *entry, struct buffer *ret)
{
    _cleanup_close_ int fd = openat(dir_fd, entry, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
    return fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fd_read_all(fd, 256, ret) == 0 &&
           ret->data;
}

/* Whether an entry of the cgroup parent (named after its sandbox) or of ids (a file that holds
 * the sandbox's id) belongs to a sandbox that no record knows. */
static bool is_ownerless(const struct recovery *recovery, int dir_fd, const char *entry)
{
    _cleanup_buffer_ struct buffer content = {0};
    const char *id = entry;
    struct stat st;
    if (entry[0] == '.' || fstatat(dir_fd, entry, &st, AT_SYMLINK_NOFOLLOW) < 0)
        return false;
    if (strspn(entry, "0123456789") == strlen(entry)) {
        if (!holder_of_range(dir_fd, entry, &content))
            return false;
        id = content.data;
    } else if (time(NULL) - st.st_ctime < STALE_SECONDS) {
        return false;
    }
    return name_is_clone(id) && !recovery_has_record(recovery->kept, id) &&
           !recovery_has_record(recovery->running, id);
}

/* Superseded generations go when their last clone has gone. */
static int retire_of(struct daemon *daemon, struct storage *storage,
                     const struct record *record, struct error *err)
{
    if (!*record->template_name || record->root)
        return 0;
    _cleanup_generations_ struct generation_list list = {0};
    struct error ignored;
    int r = storage->driver->generations(storage, record->template_name, &list, &ignored);
    if (r == 0)
        for (size_t i = 0; i < list.n; i++)
            if (list.items[i].current && streq(list.items[i].id, record->generation))
                return 0;
    /* the ends of all sandboxes are in one row: whoever changes templates just now, however
     * long that takes, retires them at the end of it */
    storage->is_hurried = true;
    /* a template that is gone has no generations, but its layers may be free now */
    r = r < 0 ? 0 : generations_retire(daemon, storage, record->template_name, err);
    if (r == -EAGAIN)
        return 0;
    return r < 0 ? r : removals_collect(daemon, storage, err);
}

/* A clone in a storage that was forgotten, because it cannot be opened, stays where it is. 1:
 * as recover_destroy. */
static int destroy_clone(struct daemon *daemon, const struct record *record,
                         struct storage *storage, struct error *err)
{
    struct error why = {0};
    int r = storage_open(record->storage, daemon->state_fd, storage, &why);
    if (r == 0) {
        storage->remove_until_ms = removals_end_ms(daemon, record->owner_uid);
        r = storage->driver->destroy(storage, record->id, &why);
        if (r == -EAGAIN && storage->remove_until_ms > 0)
            return 1;
        storage->remove_until_ms = 0;
    }
    if (r < 0 && r != -EBUSY &&
        storage_is_known(daemon->state_fd, record->storage, NULL) == 0) {
        log_warning("sandbox %s: its clone was not removed, because its storage is forgotten: "
                    "%s",
                    record->id, why.text);
        storage_close(storage);
        return 0;
    }
    if (r < 0 && err)
        *err = why;
    return r;
}

int recover_destroy(struct daemon *daemon, const struct record *record, struct error *err)
{
    int r = cgroup_destroy(daemon->cgroup_fd, record->id, CGROUP_TIMEOUT_MS);
    if (r < 0)
        return fail(err, ERROR_BUSY, r, "%s: its processes do not end: ", record->id);
    _cleanup_storage_ struct storage storage = {0};
    if (*record->storage) {
        r = destroy_clone(daemon, record, &storage, err);
        if (r != 0)
            return r;
    }
    /* without the record nobody would come back to these */
    r = ids_free(daemon, record->id, record->first_id, err);
    if (r == 0)
        r = park_remove(daemon, record->id, err);
    if (r == 0)
        r = log_remove(daemon, record->id, err);
    if (r < 0)
        return r;
    _cleanup_close_ int kept = records_kept(daemon, err);
    if (kept < 0)
        return kept;
    r = record_remove(kept, record->id);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "remove the record of the kept sandbox %s: ", record->id);
    /* the sandbox is gone: what is left to tidy up of its template is no failure of that */
    struct error retired = {0};
    if (storage.driver && retire_of(daemon, &storage, record, &retired) < 0)
        log_warning("%s", retired.text);
    return 0;
}

/* Whether a sandbox goes on without its isolated or its one-shot: then its client still waits
 * for it, because init ends with its client, or the next isolated takes it over. One that is
 * just ending is given a moment. */
bool recovery_lives_on(const struct recovery *recovery, const char *id, int tries)
{
    _cleanup_close_ int leaf = cgroup_open(recovery->daemon->cgroup_fd, id);
    int populated = leaf < 0 ? leaf : cgroup_is_populated(leaf);
    for (; populated == 1 && tries > 0; tries--) {
        (void)poll(NULL, 0, 10);
        populated = cgroup_is_populated(leaf);
    }
    /* only what is known to be gone is */
    return populated != 0 && populated != -ENOENT && populated != -ENODEV;
}

/* Whether nobody has the lock of its record. */
bool recovery_is_free(const struct recovery *recovery, const char *id)
{
    _cleanup_close_ int lock = record_lock(recovery->running, id);
    return lock >= 0;
}

static bool state_is(const struct recovery *recovery, const char *id, const char *state)
{
    _cleanup_record_ struct record record = {0};
    return record_read_head(recovery->running, id, &record, NULL) == 0 &&
           streq(record.state, state);
}

bool recovery_has_started(const struct recovery *recovery, const char *id)
{
    return state_is(recovery, id, "running");
}

static int recover_one(void *data, const char *id)
{
    struct recovery *recovery = data;
    struct error err = {0};
    _cleanup_record_ struct record record = {0};
    if (stock_has(recovery->daemon, id) || !recovery_is_free(recovery, id))
        return 0;
    /* what is quarantined has had its time: many of them must not hold up all others' ends */
    int tries = state_is(recovery, id, "quarantined") ? 0 : LIVES_ON_TRIES;
    /* without its lock, which whoever adopts it wants */
    if (recovery_lives_on(recovery, id, tries) &&
        (!recovery->force || recovery_has_started(recovery, id)))
        return 0;
    _cleanup_close_ int lock = record_lock(recovery->running, id);
    _cleanup_close_ int kept_lock = lock < 0 ? -ENOENT : record_lock(recovery->kept, id);
    /* somebody who starts the kept one has the second; and whether there is that one must be
     * known */
    if (lock < 0 || (kept_lock < 0 && kept_lock != -ENOENT) ||
        (!recovery->force && recovery_lives_on(recovery, id, 0)))
        return 0;
    int r = record_read_damaged(recovery->running, id, &record, &err);
    if (r < 0) {
        recover_warn(recovery->warnings, &err); /* the next one tries again */
        return 0;
    }
    /* whatever it was doing with a template may be half done */
    recovery->collect = true;
    if (kept_lock >= 0) {
        r = cgroup_destroy(recovery->daemon->cgroup_fd, id, CGROUP_TIMEOUT_MS);
        if (r < 0)
            (void)fail(&err, ERROR_BUSY, r, "%s: its processes do not end: ", id);
    } else {
        r = recover_destroy(recovery->daemon, &record, &err);
    }
    if (r > 0) {
        removals_add_record(recovery->daemon, &record, TAKE_FD(lock));
        return 0;
    }
    if (r == 0)
        (void)!record_remove(recovery->running, id); /* else the next one tries again */
    else
        quarantine_mark(recovery->daemon, &record, &lock, &err);
    return 0;
}

static int reserve_kept(void *data, const char *id)
{
    struct recovery *recovery = data;
    struct error err = {0};
    _cleanup_record_ struct record record = {0};
    int r = record_read_head(recovery->kept, id, &record, &err);
    if (r == 0)
        r = record.shares_ids ? ids_reserve_template(recovery->daemon, record.template_name,
                                                     record.first_id, &err)
                              : ids_reserve(recovery->daemon, id, record.first_id, &err);
    if (r < 0)
        log_warning("kept sandbox %s: %s", id, err.text);
    return 0;
}

/* Leaves those in the list that belong to no sandbox. */
void recovery_drop_owned(const struct recovery *recovery, struct clone_list *clones)
{
    size_t n = 0;
    for (size_t i = 0; i < clones->n; i++) {
        const char *id = clones->items[i].name;
        if (!recovery_has_record(recovery->kept, id) &&
            !recovery_has_record(recovery->running, id))
            clones->items[n++] = clones->items[i];
    }
    clones->n = n;
}

/* One that will not go is no reason to leave the others. */
static int destroy_all(struct storage *storage, const struct clone_list *clones,
                       struct error *err)
{
    int r = 0;
    if (clones->n > 1 && storage->driver->destroy_ahead)
        storage->driver->destroy_ahead(storage, clones);
    for (size_t i = 0; i < clones->n; i++) {
        struct error one = {0};
        int destroyed = storage->driver->destroy(storage, clones->items[i].name, &one);
        if (destroyed < 0 && r == 0) {
            *err = one;
            r = destroyed;
        }
    }
    return r;
}

static int sweep_clones(struct recovery *recovery, const char *name)
{
    struct error err = {0};
    _cleanup_storage_ struct storage storage = {0};
    _cleanup_clones_ struct clone_list clones = {0};
    int r = storage_open(name, recovery->daemon->state_fd, &storage, &err);
    if (r == 0)
        r = storage.driver->clones(&storage, &clones, &err);
    recovery_drop_owned(recovery, &clones);
    if (r == 0)
        r = destroy_all(&storage, &clones, &err);
    if (r == 0)
        r = removals_collect(recovery->daemon, &storage, &err);
    if (r < 0)
        recover_warn(recovery->warnings, &err);
    return r;
}

/* A storage that could not be swept (its pool is not imported yet, the list of all is broken)
 * is tried again by each recovery. */
#define UNSWEPT "unswept"

static void sweep_storages(struct recovery *recovery)
{
    struct error err = {0};
    bool is_complete = true;
    int run_fd = recovery->daemon->run_fd;
    _cleanup_storage_names_ struct storage_names names = {0};
    if (storage_names_list(recovery->daemon->state_fd, &names, &err) < 0)
        names.problem = err;
    if (names.problem.code != ERROR_NONE) {
        recover_warn(recovery->warnings, &names.problem);
        is_complete = false;
    }
    for (size_t i = 0; i < names.n; i++)
        is_complete = sweep_clones(recovery, names.items[i]) == 0 && is_complete;
    int r = is_complete ? 0 : file_replace_at(run_fd, UNSWEPT, "", 0, false);
    if (is_complete && unlinkat(run_fd, UNSWEPT, 0) < 0 && errno != ENOENT)
        r = -errno;
    if (r < 0)
        log_warning("%s: %s", UNSWEPT, strerror(-r));
}

/* Calls each for the logs of detached sandboxes that are gone: the record is there before the
 * log, and goes after it. */
void recovery_stale_logs(const struct recovery *recovery,
                         void (*each)(const struct recovery *recovery, const char *id,
                                      void *data),
                         void *data)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(recovery->daemon->state_fd, "logs"));
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (name_is_clone(entry->d_name) &&
            !recovery_has_record(recovery->kept, entry->d_name) &&
            !recovery_has_record(recovery->running, entry->d_name))
            each(recovery, entry->d_name, data);
}

static void remove_log(const struct recovery *recovery, const char *id, void *data)
{
    struct error err = {0};
    if (log_remove(recovery->daemon, id, &err) < 0)
        log_warning("%s", err.text);
}

/* 1 or 0 */
static int is_swept(const struct daemon *daemon, struct error *err)
{
    int r = file_exists_at(daemon->run_fd, "swept");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "runtime directory: ") : r;
}

/* Once per boot: nothing of an earlier one runs any more. */
static int sweep_after_boot(struct recovery *recovery, struct error *err)
{
    struct daemon *daemon = recovery->daemon;
    int r = is_swept(daemon, err);
    if (r != 0)
        return r < 0 ? r : 0;
    _cleanup_close_ int lock =
        openat(daemon->run_fd, "swept.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, errno, "lock the runtime directory: ");
    r = is_swept(daemon, err);
    if (r != 0)
        return r < 0 ? r : 0;
    r = record_for_each(recovery->kept, reserve_kept, recovery);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "kept sandboxes: ");
    ids_reserve_shared(daemon);
    sweep_storages(recovery);
    recovery_stale_logs(recovery, remove_log, NULL);
    r = file_replace_at(daemon->run_fd, "swept", daemon->boot_id, strlen(daemon->boot_id),
                        false);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "runtime directory: ") : 0;
}

int recovery_open(struct daemon *daemon, struct recovery *ret, struct error *err)
{
    *ret = (struct recovery){.daemon = daemon, .running = -EBADF, .kept = -EBADF};
    int r = daemon_follow_cgroup(daemon, err);
    if (r < 0)
        return r;
    ret->running = records_running(daemon, err);
    if (ret->running >= 0)
        ret->kept = records_kept(daemon, err);
    return ret->kept < 0 ? ret->kept : 0;
}

void recovery_close(struct recovery *recovery)
{
    recovery->running = fd_close(recovery->running);
    recovery->kept = fd_close(recovery->kept);
}

static int recover_records(struct daemon *daemon, bool force, struct error *err)
{
    _cleanup_recovery_ struct recovery recovery = {.running = -EBADF, .kept = -EBADF};
    int r = recovery_open(daemon, &recovery, err);
    if (r < 0)
        return r;
    recovery.force = force;
    recovery.collect = named_locks_sweep(daemon);
    record_sweep(recovery.running);
    record_sweep(recovery.kept);
    r = record_for_each(recovery.running, recover_one, &recovery);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "records: ");
    if (recovery.collect || recovery_has_record(daemon->run_fd, UNSWEPT))
        sweep_storages(&recovery);
    return sweep_after_boot(&recovery, err);
}

int recover_all(struct daemon *daemon, struct error *err)
{
    return recover_records(daemon, false, err);
}

int recover_after_boot(struct daemon *daemon, struct error *err)
{
    int r = is_swept(daemon, err);
    return r < 0 ? r : r > 0 ? 0 : recover_all(daemon, err);
}

void recovery_ownerless(const struct recovery *recovery, int dir_fd, const char *directory,
                        void (*visit)(const struct recovery *recovery, const char *entry,
                                      void *data),
                        void *data)
{
    int fd = dir_open_at(dir_fd, directory);
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (!dir)
        return;
    for (struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        if (is_ownerless(recovery, fd, entry->d_name))
            visit(recovery, entry->d_name, data);
}

/* Leaves and id ranges that name no sandbox: their records were lost. */
static void remove_leaf(const struct recovery *recovery, const char *entry, void *data)
{
    (void)!cgroup_destroy(recovery->daemon->cgroup_fd, entry, CGROUP_TIMEOUT_MS);
}

static void remove_range(const struct recovery *recovery, const char *entry, void *data)
{
    char path[32];
    (void)snprintf(path, sizeof(path), "ids/%.20s", entry);
    (void)unlinkat(recovery->daemon->run_fd, path, 0);
}

void recover_ranges(struct daemon *daemon)
{
    _cleanup_recovery_ struct recovery recovery = {.running = -EBADF, .kept = -EBADF};
    if (recovery_open(daemon, &recovery, NULL) == 0)
        recovery_ownerless(&recovery, daemon->run_fd, "ids", remove_range, NULL);
}

int recover_sweep(struct daemon *daemon, json_t *warnings, struct error *err)
{
    _cleanup_recovery_ struct recovery recovery = {.running = -EBADF, .kept = -EBADF};
    int r = recovery_open(daemon, &recovery, err);
    if (r == 0)
        r = recover_records(daemon, true, err);
    if (r < 0)
        return r;
    recovery.warnings = warnings;
    sweep_storages(&recovery);
    recovery_stale_logs(&recovery, remove_log, NULL);
    recovery_ownerless(&recovery, daemon->cgroup_fd, ".", remove_leaf, NULL);
    recovery_ownerless(&recovery, daemon->run_fd, "ids", remove_range, NULL);
    return 0;
}
