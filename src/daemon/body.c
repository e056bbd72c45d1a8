/* SPDX-License-Identifier: Apache-2.0 */
/* Building a sandbox; body_end.c takes it apart. Runs in isolated as root. Everything that is
 * made is named by a record that was written before, so that whoever comes after a crash finds
 * it. */
#include "daemon/body.h"

#include "base/text.h"
#include "daemon/park.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

void body_init(struct body *body, struct daemon *daemon)
{
    *body = (struct body){
        .daemon = daemon,
        .lock_fd = -EBADF,
        .kept_lock_fd = -EBADF,
        .storage = {.dir_fd = -EBADF},
        .instance = ENGINE_INSTANCE_NONE,
        .cgroup_fd = -EBADF,
        .root_fd = -EBADF,
        .view_fd = -EBADF,
    };
}

void body_clear(struct body *body)
{
    engine_instance_clear(&body->instance);
    body->cgroup_fd = fd_close(body->cgroup_fd);
    body->root_fd = fd_close(body->root_fd);
    body->view_fd = fd_close(body->view_fd);
    body->lock_fd = fd_close(body->lock_fd);
    body->kept_lock_fd = fd_close(body->kept_lock_fd);
    storage_close(&body->storage);
    record_clear(&body->record);
    json_decref(body->prepared);
    body->prepared = NULL;
}

void body_move(struct body *to, struct body *from)
{
    *to = *from;
    body_init(from, to->daemon);
}

int body_take_defaults(struct body *body, struct error *err)
{
    struct record *record = &body->record;
    json_decref(record->defaults);
    record->defaults = NULL;
    return body->storage.driver->defaults(&body->storage, record->template_name,
                                          &record->defaults, err);
}

void body_name(struct body *body, const char *base)
{
    struct timespec now;
    struct record *record = &body->record;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    uint64_t ns = (uint64_t)now.tv_sec * 1000000000ULL + (uint64_t)now.tv_nsec;
    record->created_us = ns / 1000;
    (void)snprintf(record->id, sizeof(record->id), "%.63s_%019" PRIu64, base, ns);
}

int body_check_name(const struct body *body, struct error *err)
{
    struct daemon *daemon = body->daemon;
    const char *name = body->record.name;
    char id[CLONE_NAME_SIZE];
    if (!*name || body->restarted)
        return 0;
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    int r = kept < 0 ? kept : record_find_name(running, name, body->record.owner_uid, id);
    if (r == 0)
        r = record_find_name(kept, name, body->record.owner_uid, id);
    if (r > 0 && !streq(id, body->record.id))
        return fail(err, ERROR_EXISTS, EEXIST,
                    "the name \"%s\" belongs to sandbox %s; see `isolate ps -a`", name, id);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "records: ") : 0;
}

int body_publish(struct body *body, struct error *err)
{
    struct daemon *daemon = body->daemon;
    /* two at once with one name: the lock makes the second see the first's record */
    _cleanup_close_ int names = -EBADF;
    if (*body->record.name && !body->restarted) {
        names = openat(daemon->run_fd, "names.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
        if (names < 0 || flock(names, LOCK_EX) < 0)
            return fail(err, ERROR_SYSTEM, errno, "lock the names: ");
        int r = body_check_name(body, err);
        if (r < 0)
            return r;
    }
    _cleanup_close_ int records = records_running(daemon, err);
    return records < 0 ? records : record_write(records, &body->record, &body->lock_fd, err);
}

int body_shares_ids(struct body *body, uint32_t *ret_first_id, struct error *err)
{
    const struct record *record = &body->record;
    const struct storage_driver *driver = body->storage.driver;
    *ret_first_id = record->first_id;
    if (!driver->range || record->root)
        return 0;
    if (body->restarted && record->shares_ids) /* its files are stored with these, for good */
        return 1;
    int r = driver->range(&body->storage, record->template_name, ret_first_id, err);
    if (r > 0 && body->host_network)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "template \"%s\": storage %s cannot be id-mapped here, so its sandboxes "
                    "share their ids, and the host's network is refused; use --network none",
                    record->template_name, body->storage.name);
    if (r > 0 && record->first_id != 0 && !body->restarted)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "template \"%s\": storage %s cannot be id-mapped here, so the ids of its "
                    "sandboxes cannot be chosen",
                    record->template_name, body->storage.name);
    return r;
}

/* The first one that needs it chooses the range. */
static int take_shared_ids(struct body *body, struct error *err)
{
    struct record *record = &body->record;
    uint32_t first_id = 0;
    int r = body_shares_ids(body, &first_id, err);
    if (r <= 0)
        return r;
    record->shares_ids = true;
    record->first_id = first_id;
    if (first_id == 0)
        r = ids_share(body->daemon, &body->storage, record->template_name, &record->first_id,
                      err);
    else /* its storage may have come later than isolated */
        r = ids_reserve_template(body->daemon, record->template_name, first_id, err);
    return r < 0 ? r : 1;
}

static int take_ids(struct body *body, struct error *err)
{
    struct record *record = &body->record;
    bool chosen = !body->restarted && record->first_id != 0;
    int shared = body->restarted && !record->shares_ids ? 0 : take_shared_ids(body, err);
    if (shared != 0)
        return shared < 0 ? shared : 0;
    int r = body->restarted ? ids_reserve(body->daemon, record->id, record->first_id, err)
            : chosen        ? ids_choose(body->daemon, record->id, record->first_id, err)
                            : ids_allocate(body->daemon, record->id, &record->first_id, err);
    body->has_ids = r == 0;
    return r;
}

/* What is started again has its limit already. */
static int limit_clone(struct body *body, struct error *err)
{
    const struct record *record = &body->record;
    const struct storage_driver *driver = body->storage.driver;
    if (record->disk_bytes == 0 || body->restarted)
        return 0;
    int r = driver->limit(&body->storage, record->id, record->disk_bytes, err);
    return storage_advise(&body->storage, r, err);
}

/* What is kept gets its limit before it is known as that. */
static int limit_disposable(struct body *body, struct error *err)
{
    return body->kept || body->viewed ? 0 : limit_clone(body, err);
}

static int make_clone(struct body *body, int one_off_root, struct error *err)
{
    struct record *record = &body->record;
    bool named = *record->template_name && !record->root;
    struct clone_request clone = {
        .clone = record->id,
        .template_name = named ? record->template_name : NULL,
        .generation = *record->generation ? record->generation : NULL,
        .root_fd = one_off_root,
        .root_path = record->root,
        .first_id = record->first_id,
        .shares_ids = record->shares_ids,
        .durable = body->durable,
        .ret_generation = record->generation,
    };
    int r = body->restarted ? 0 : body->storage.driver->clone(&body->storage, &clone, err);
    r = storage_advise(&body->storage, r, err);
    if (r < 0 || !body->kept || body->restarted)
        return r;
    r = limit_clone(body, err);
    if (r < 0)
        return r;
    /* from here on it survives a crash, and a boot */
    struct record kept = *record;
    (void)snprintf(kept.state, sizeof(kept.state), "kept");
    _cleanup_close_ int dir = records_kept(body->daemon, err);
    return dir < 0 ? dir : record_write(dir, &kept, &body->kept_lock_fd, err);
}

/* Of the sandbox's own, and empty. */
static int make_place_holder(const struct body *body, struct error *err)
{
    char owner[16];
    const char *const options[] = {"source", "root", "mode", "0755", "uid",
                                   owner,    "gid",  owner,  NULL};
    (void)snprintf(owner, sizeof(owner), "%u", body->record.first_id);
    int mount = mount_new("tmpfs", options, MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV);
    return mount < 0 ? fail(err, ERROR_SYSTEM, mount, "place holder for a root: ") : mount;
}

static int build_root(struct body *body, const struct engine_shape *shape, int one_off_root,
                      struct error *err)
{
    const struct storage_driver *driver = body->storage.driver;
    int r = body->rootless
                ? (body->root_fd = make_place_holder(body, err))
                : driver->mount(&body->storage, body->record.id, body->instance.userns_fd,
                                one_off_root, &body->root_fd, err);
    return r < 0 ? r : body->engine->build(&body->instance, shape, body->root_fd, err);
}

/* The range is part of the record, and the record of the range: the id names both. */
static int begin(struct body *body, int one_off_root, struct error *err)
{
    int r = take_ids(body, err);
    if (r == 0)
        r = body_publish(body, err);
    ids_settle(body->daemon);
    return r < 0 ? r : make_clone(body, one_off_root, err);
}

int body_clone(struct body *body, int one_off_root, struct error *err)
{
    int r = begin(body, one_off_root, err);
    if (r < 0)
        return r;
    body->cloned = true;
    (void)snprintf(body->record.state, sizeof(body->record.state), "fresh");
    return body_publish(body, err);
}

/* Files of a template whose sandboxes share their ids cannot be id-mapped. */
static int check_view(const struct body *body, struct error *err)
{
    return body->views && body->record.shares_ids
               ? fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                      "template \"%s\": storage %s cannot be id-mapped here, so its clones "
                      "cannot be shown to hooks",
                      body->record.template_name, body->storage.name)
               : 0;
}

int body_view(struct body *body, int one_off_root, struct error *err)
{
    int r = body->cloned ? body_publish(body, err) : begin(body, one_off_root, err);
    if (r == 0)
        r = check_view(body, err);
    if (r == 0)
        r = limit_disposable(body, err);
    if (r < 0)
        return r;
    body->cloned = body->viewed = true;
    return body_open_view(body, one_off_root, err);
}

static bool is_persistent(const struct body *body)
{
    return !(body->storage.driver->capabilities & STORAGE_DISPOSABLE);
}

int body_build(struct body *body, int one_off_root, struct error *err)
{
    struct daemon *daemon = body->daemon;
    /* from here on no record says any more that it is fresh */
    int r = body->cloned ? body_publish(body, err) : begin(body, one_off_root, err);
    body->cloned = body->cloned && r < 0;
    if (r == 0)
        r = check_view(body, err);
    if (r == 0)
        r = limit_disposable(body, err);
    if (r == 0 && body_close_view(body) < 0)
        r = fail(err, ERROR_BUSY, EBUSY,
                 "the hook before the start has ended, but something that it left behind still "
                 "has a file below ROOTFS open for writing; nothing ran");
    if (r == 0)
        r = daemon_follow_cgroup(daemon, err);
    if (r < 0)
        return r;
    body->cgroup_fd = cgroup_create(daemon->cgroup_fd, body->record.id);
    if (body->cgroup_fd < 0)
        return fail(err, ERROR_SYSTEM, body->cgroup_fd, "cgroup of %s: ", body->record.id);
    _cleanup_close_ int listener = park_listen(daemon, body->record.id, err);
    if (listener < 0)
        return listener;
    struct engine_shape shape = {
        .first_id = body->record.first_id,
        .host_network = body->host_network,
        .persistent = is_persistent(body) && !body->rootless,
        .root_later = body->rootless,
        .own_pages = body->storage.driver->capabilities & STORAGE_OWN_PAGES,
        .cgroup_fd = body->cgroup_fd,
        .init_fd = daemon->init_fd,
        .listen_fd = listener,
        .nursery_fd = daemon->nursery_fd,
    };
    r = body->engine->spawn(&shape, &body->instance, err);
    return r < 0 ? r : build_root(body, &shape, one_off_root, err);
}

int body_enter(struct body *body, const char *root_path, int root_fd, struct error *err)
{
    struct engine_instance *instance = &body->instance;
    body->record.root = strdup(root_path);
    if (!body->record.root)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    _cleanup_close_ int mount =
        body->storage.driver->mount_late(root_path, root_fd, instance->userns_fd, err);
    int r = mount < 0 ? mount : body->engine->enter(instance, mount, is_persistent(body), err);
    if (r < 0)
        return r;
    fd_close(body->root_fd);
    body->root_fd = TAKE_FD(mount);
    instance->userns_fd = fd_close(instance->userns_fd);
    body->rootless = false;
    return 0;
}
