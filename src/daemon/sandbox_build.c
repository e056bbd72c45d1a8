/* SPDX-License-Identifier: Apache-2.0 */
/* Building a sandbox and taking it apart. Runs in isolated as root. Everything that is made is
 * named by a record that was written before, so that whoever comes after a crash finds it. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/sandbox.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/file.h>
#include <sys/wait.h>

#define CGROUP_TIMEOUT_MS 5000

static void make_id(struct record *record, const char *base)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
    record->created_us = ns / 1000;
    (void)snprintf(record->id, sizeof(record->id), "%.63s_%019" PRIu64, base, ns);
}

/* A clone's name for a one-off root: the last component of its path, as far as letters allow.
 */
static void base_of_path(const char *path, char *out, size_t size)
{
    const char *last = strrchr(path, '/');
    size_t o = 0;
    for (const char *p = last ? last + 1 : path; *p && o + 1 < size && o < 40; p++) {
        char c = *p >= 'A' && *p <= 'Z' ? (char)(*p - 'A' + 'a') : *p;
        if ((c >= 'a' && c <= 'z') || (c >= '0' && c <= '9') || (o > 0 && c == '-'))
            out[o++] = c;
    }
    out[o] = '\0';
    if (o == 0)
        (void)snprintf(out, size, "root");
}

/* The kept sandbox that `start` names: its record, and its lock. */
static int identify_kept(struct sandbox *sandbox, struct error *err)
{
    struct daemon *daemon = sandbox->daemon;
    const char *wanted = sandbox->request.kept;
    char id[CLONE_NAME_SIZE];
    _cleanup_close_ int kept = records_kept(daemon, err);
    int found = kept < 0 ? kept : record_find(kept, wanted, id);
    if (found < 0)
        return fail(err, ERROR_SYSTEM, found, "kept sandboxes: ");
    if (found == 0)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "\"%.80s\": no such kept sandbox; see `isolate ps -a`", wanted);
    sandbox->kept_lock_fd = record_lock_kept(daemon, id, err);
    if (sandbox->kept_lock_fd < 0)
        return sandbox->kept_lock_fd;
    /* the record keeps the request that made the sandbox: a start may bring another command */
    record_clear(&sandbox->record);
    sandbox->kept = sandbox->restarted = true;
    return record_read(kept, id, &sandbox->record, err);
}

static int check_name_free(struct sandbox *sandbox, struct error *err)
{
    struct daemon *daemon = sandbox->daemon;
    const char *name = sandbox->record.name;
    char id[CLONE_NAME_SIZE];
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    int r = kept < 0 ? kept : record_find(running, name, id);
    if (r == 0)
        r = record_find(kept, name, id);
    if (r > 0)
        return fail(err, ERROR_EXISTS, EEXIST,
                    "the name \"%s\" belongs to sandbox %s; see `isolate ps -a`", name, id);
    return r;
}

int sandbox_identify(struct sandbox *sandbox, struct error *err)
{
    struct run_request *request = &sandbox->request;
    struct record *record = &sandbox->record;
    char base[64];
    int r = engine_find(request->engine, &sandbox->engine, err);
    if (r == 0 && request->kept)
        r = identify_kept(sandbox, err);
    if (r == 0)
        r = storage_open(request->kept ? record->storage : request->storage,
                         sandbox->daemon->state_fd, &sandbox->storage, err);
    if (r < 0 || request->kept)
        return r;
    if (!request->template_name)
        r = storage_require(&sandbox->storage, STORAGE_ROOTS, "run on a directory", err);
    else
        r = storage_require(&sandbox->storage, STORAGE_TEMPLATES, "keep named templates", err);
    if (r < 0)
        return r;
    if (request->template_name) {
        (void)snprintf(base, sizeof(base), "%s", request->template_name);
        (void)snprintf(record->template_name, sizeof(record->template_name), "%s", base);
    } else {
        base_of_path(request->host ? "host" : request->root, base, sizeof(base));
        record->root = strdup(request->host ? "/" : request->root);
    }
    if (request->hold && request->template_name) {
        r = named_lock(sandbox->daemon, "update", base, &sandbox->update, err);
        if (r < 0)
            return r;
    }
    make_id(record, base);
    sandbox->kept = request->keep;
    (void)snprintf(record->name, sizeof(record->name), "%s",
                   request->name ? request->name : "");
    (void)snprintf(record->state, sizeof(record->state), "building");
    (void)snprintf(record->storage, sizeof(record->storage), "%s",
                   sandbox->storage.driver->name);
    (void)snprintf(record->engine, sizeof(record->engine), "%s", sandbox->engine->name);
    return 0;
}

/* The record comes before everything that it names. */
static int publish_record(struct sandbox *sandbox, struct error *err)
{
    struct daemon *daemon = sandbox->daemon;
    /* two at once with one name: the lock makes the second see the first's record */
    _cleanup_close_ int names = -EBADF;
    if (*sandbox->record.name && !sandbox->restarted) {
        names = openat(daemon->run_fd, "names.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (names < 0 || flock(names, LOCK_EX) < 0)
            return fail(err, ERROR_SYSTEM, errno, "lock the names: ");
        int r = check_name_free(sandbox, err);
        if (r < 0)
            return r;
    }
    _cleanup_close_ int records = records_running(daemon, err);
    return records < 0 ? records
                       : record_write(records, &sandbox->record, &sandbox->lock_fd, err);
}

static int take_ids(struct sandbox *sandbox, struct error *err)
{
    struct record *record = &sandbox->record;
    int r = sandbox->restarted
                ? ids_reserve(sandbox->daemon, record->id, record->first_id, err)
                : ids_allocate(sandbox->daemon, record->id, &record->first_id, err);
    sandbox->has_ids = r == 0;
    return r;
}

/* The directory that the caller opened, if that is the template: a start brings none. */
static int one_off_root(const struct sandbox *sandbox)
{
    const struct run_request *request = &sandbox->request;
    return sandbox->restarted || request->template_name ? -EBADF
                                                        : sandbox->fds.fds[request->root_fd];
}

static int make_clone(struct sandbox *sandbox, struct error *err)
{
    const struct run_request *request = &sandbox->request;
    struct record *record = &sandbox->record;
    struct clone_request clone = {
        .clone = record->id,
        .template_name = request->template_name,
        .generation = request->generation,
        .root_fd = one_off_root(sandbox),
        .root_path = record->root,
        .first_id = record->first_id,
        .durable = request->keep || request->hold,
        .ret_generation = record->generation,
    };
    int r =
        sandbox->restarted ? 0 : sandbox->storage.driver->clone(&sandbox->storage, &clone, err);
    if (r < 0 || !sandbox->kept || sandbox->restarted)
        return r;
    /* from here on it survives a crash, and a boot */
    struct record kept = *record;
    (void)snprintf(kept.state, sizeof(kept.state), "kept");
    _cleanup_close_ int dir = records_kept(sandbox->daemon, err);
    return dir < 0 ? dir : record_write(dir, &kept, &sandbox->kept_lock_fd, err);
}

static int build_root(struct sandbox *sandbox, const struct engine_shape *shape,
                      struct error *err)
{
    const struct storage_driver *driver = sandbox->storage.driver;
    int r = driver->mount(&sandbox->storage, sandbox->record.id, sandbox->instance.userns_fd,
                          one_off_root(sandbox), &sandbox->root_fd, err);
    if (r < 0)
        return r;
    return sandbox->engine->build(&sandbox->instance, shape, sandbox->root_fd, err);
}

int sandbox_build(struct sandbox *sandbox, struct error *err)
{
    struct daemon *daemon = sandbox->daemon;
    /* the range is part of the record, and the record of the range: the id names both */
    int r = take_ids(sandbox, err);
    if (r == 0)
        r = publish_record(sandbox, err);
    if (r == 0)
        r = make_clone(sandbox, err);
    if (r < 0)
        return r;
    sandbox->cgroup_fd = cgroup_create(daemon->cgroup_fd, sandbox->record.id);
    if (sandbox->cgroup_fd < 0)
        return fail(err, ERROR_SYSTEM, sandbox->cgroup_fd,
                    "cgroup of %s: ", sandbox->record.id);
    struct engine_shape shape = {
        .first_id = sandbox->record.first_id,
        .host_network = sandbox->request.host_network,
        .persistent = !(sandbox->storage.driver->capabilities & STORAGE_DISPOSABLE),
        .cgroup_fd = sandbox->cgroup_fd,
        .init_fd = daemon->init_fd,
    };
    r = sandbox->engine->spawn(&shape, &sandbox->instance, err);
    return r < 0 ? r : build_root(sandbox, &shape, err);
}

/* All processes are dead, but an fd that one of them passed to another sandbox through a shared
 * bind may live on: nothing may be written through it into what is kept, committed or removed.
 */
static void close_root(struct sandbox *sandbox)
{
    if (sandbox->root_fd < 0)
        return;
    if (sandbox->storage.driver->capabilities & STORAGE_DISPOSABLE)
        sandbox->record.open_elsewhere = mount_super_read_only(sandbox->root_fd) < 0;
    sandbox->root_fd = fd_close(sandbox->root_fd);
}

void sandbox_end_processes(struct sandbox *sandbox)
{
    sandbox->park_io = sd_event_source_unref(sandbox->park_io);
    sandbox->pid_io = sd_event_source_unref(sandbox->pid_io);
    sandbox->timer = sd_event_source_unref(sandbox->timer);
    struct engine_instance *instance = &sandbox->instance;
    if (instance->pid > 0) {
        (void)!pidfd_signal(instance->pidfd, SIGKILL);
        /* pid 1 takes its whole namespace along before it can be waited for */
        if (wait4(instance->pid, NULL, 0, &sandbox->usage) < 0)
            log_warning("sandbox %s: wait: %s", sandbox->record.id, strerror(errno));
        instance->pid = 0;
    }
    engine_instance_clear(instance);
    fd_list_clear(&sandbox->fds);
    fd_list_clear(&sandbox->plan.mounts);
    if (sandbox->cgroup_fd >= 0) {
        int r =
            cgroup_destroy(sandbox->daemon->cgroup_fd, sandbox->record.id, CGROUP_TIMEOUT_MS);
        sandbox->stays = r < 0;
        if (r < 0)
            log_warning("sandbox %s: its cgroup stays: %s", sandbox->record.id, strerror(-r));
        sandbox->cgroup_fd = fd_close(sandbox->cgroup_fd);
    }
    close_root(sandbox);
}

/* What the kept record says from now on: what isolate wrote into the clone. */
static void update_kept(struct sandbox *sandbox)
{
    struct error err = {0};
    struct record kept = sandbox->record;
    (void)snprintf(kept.state, sizeof(kept.state), "kept");
    _cleanup_close_ int dir = records_kept(sandbox->daemon, &err);
    if (dir < 0 || record_write(dir, &kept, &sandbox->kept_lock_fd, &err) < 0)
        log_warning("%s", err.text);
}

void sandbox_destroy_clone(struct sandbox *sandbox)
{
    struct error err = {0};
    struct daemon *daemon = sandbox->daemon;
    struct record *record = &sandbox->record;
    if (sandbox->lock_fd < 0) { /* no record: nothing was made */
        if (sandbox->has_ids && !sandbox->restarted)
            ids_free(daemon, record->id, record->first_id);
        return;
    }
    if (sandbox->stays)
        return;
    if (sandbox->kept && sandbox->kept_lock_fd >= 0) {
        update_kept(sandbox);
    } else if (recover_destroy(daemon, record, &err) < 0) {
        log_warning("sandbox %s: %s (see `isolate doctor`)", record->id, err.text);
        return;
    }
    _cleanup_close_ int records = records_running(daemon, &err);
    if (records >= 0)
        record_remove(records, record->id);
}

void sandbox_free(struct sandbox *sandbox)
{
    named_unlock(&sandbox->update);
    sandbox->lock_fd = fd_close(sandbox->lock_fd);
    sandbox->kept_lock_fd = fd_close(sandbox->kept_lock_fd);
    storage_close(&sandbox->storage);
    run_plan_clear(&sandbox->plan);
    run_request_clear(&sandbox->request);
    record_clear(&sandbox->record);
    free(sandbox);
}
