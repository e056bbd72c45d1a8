/* SPDX-License-Identifier: Apache-2.0 */
/* Methods on sandboxes that exist: list, inspect, remove, diff, commit, prune, status. Run in
 * isolated as root; names are the caller's, contents of clones are hostile. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/limits.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/sandbox.h"
#include "daemon/stock.h"
#include "daemon/templates.h"
#include "spec/base64.h"
#include "sys/cgroup.h"

#include <fcntl.h>
#include <string.h>

/* these methods do not run on the event loop */
#define KEPT_WAIT_MS 2000

struct listing {
    struct daemon *daemon;
    int dir_fd;
    uint32_t viewer; /* sees its own; root all */
    json_t *list;
    bool stats;
};

static uint64_t clone_bytes(struct daemon *daemon, const struct record *record)
{
    uint64_t bytes = 0;
    _cleanup_storage_ struct storage storage = {0};
    if (*record->storage &&
        storage_open(record->storage, daemon->state_fd, &storage, NULL) == 0 &&
        storage.driver->usage(&storage, record->id, &bytes, NULL) < 0)
        bytes = 0;
    return bytes;
}

static bool listed(const json_t *list, const char *id)
{
    size_t index = 0;
    const json_t *item = NULL;
    json_array_foreach((json_t *)list, index, item)
    {
        const char *other = json_string_value(json_object_get(item, "id"));
        if (other && streq(other, id))
            return true;
    }
    return false;
}

/* What the kernel counts of it; memory only where that controller is on. */
static json_t *stats_of(struct daemon *daemon, const char *id)
{
    uint64_t cpu_us = 0;
    uint64_t memory = 0;
    uint64_t processes = 0;
    _cleanup_close_ int leaf = cgroup_open(daemon->cgroup_fd, id);
    (void)!cgroup_read_value(leaf, "cpu.stat", "usage_usec ", &cpu_us);
    bool has_memory = cgroup_read_value(leaf, "memory.current", "", &memory) == 0;
    (void)!cgroup_count_processes(leaf, &processes);
    json_t *value = json_pack("{s:I, s:I}", "cpu_us", (json_int_t)cpu_us, "processes",
                              (json_int_t)processes);
    if (value && has_memory)
        (void)json_object_set_new(value, "memory_bytes", json_integer((json_int_t)memory));
    return value;
}

/* Nobody's yet. */
static bool is_of_pool(const struct record *record)
{
    return streq(record->state, "parked") || streq(record->state, "cloning") ||
           streq(record->state, "fresh");
}

/* What is to be said of it. Its record is "running" before its command is sent to it, so that
 * whoever recovers it takes it for what may have run. */
static json_t *describe(const struct daemon *daemon, const struct record *record)
{
    json_t *item = record_to_json(record);
    (void)json_object_del(item, "clocks");
    if (item && streq(record->state, "running") && sandbox_is_coming(daemon, record->id))
        (void)json_object_set_new(item, "state", json_string("starting"));
    return item;
}

/* Not a worker's, not out of use, not another's, and not gone meanwhile. */
static bool is_shown(const struct listing *listing, const char *id)
{
    _cleanup_record_ struct record record = {0};
    return record_read_head(listing->dir_fd, id, &record, NULL) == 0 && *record.storage &&
           !is_of_pool(&record) &&
           (listing->viewer == 0 || record.owner_uid == listing->viewer);
}

static int list_one(void *data, const char *id)
{
    struct listing *listing = data;
    _cleanup_record_ struct record record = {0};
    if (listed(listing->list, id) || sandbox_is_going(listing->daemon, id) ||
        !is_shown(listing, id) || record_read(listing->dir_fd, id, &record, NULL) < 0)
        return 0;
    json_t *item = describe(listing->daemon, &record);
    if (!item)
        return -ENOMEM;
    (void)json_object_set_new(item, "bytes",
                              json_integer((json_int_t)clone_bytes(listing->daemon, &record)));
    (void)json_object_del(item, "provided");
    if (listing->stats)
        (void)json_object_set_new(item, "stats", stats_of(listing->daemon, id));
    return json_array_append_new(listing->list, item);
}

int method_list(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    struct listing listing = {.daemon = daemon,
                              .viewer = call->peer->uid,
                              .list = json_array(),
                              .stats =
                                  json_is_true(json_object_get(call->parameters, "stats"))};
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    int r = kept < 0 ? kept : 0;
    listing.dir_fd = running;
    if (r == 0)
        r = record_for_each(running, list_one, &listing);
    listing.dir_fd = kept;
    if (r == 0 && json_is_true(json_object_get(call->parameters, "all")))
        r = record_for_each(kept, list_one, &listing);
    if (r < 0) {
        json_decref(listing.list);
        return fail(err, ERROR_SYSTEM, r, "list the sandboxes: ");
    }
    return call_done(call, json_pack("{s:o}", "sandboxes", listing.list), err);
}

/* The record of that name or id: 1 found, 0 not. */
static int find_in(int dir_fd, const char *wanted, const struct peer *viewer,
                   struct record *ret, struct error *err)
{
    char id[CLONE_NAME_SIZE];
    int r = record_find(dir_fd, wanted, viewer->uid, id);
    if (r <= 0)
        return r < 0 ? fail(err, ERROR_SYSTEM, r, "look for sandbox \"%.80s\": ", wanted) : 0;
    r = record_read(dir_fd, id, ret, err);
    return r < 0 ? r : 1;
}

static int no_such(const char *name, struct error *err)
{
    return fail(err, ERROR_NOT_FOUND, ENOENT, "\"%.80s\": no such sandbox; see `isolate ps -a`",
                name);
}

/* A kept sandbox that does not run, locked: *ret_lock must be closed. */
static int take_kept(struct call *call, struct record *ret, int *ret_lock, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    if (r < 0)
        return r;
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    if (kept < 0)
        return kept;
    r = find_in(kept, name, call->peer, ret, err);
    if (r == 0) {
        _cleanup_record_ struct record other = {0};
        r = find_in(running, name, call->peer, &other, err);
        return r > 0 ? fail(err, ERROR_BUSY, EBUSY,
                            "sandbox \"%.80s\" is running and was not started with --keep: its "
                            "clone goes with it",
                            name)
                     : no_such(name, err);
    }
    if (r < 0)
        return r;
    *ret_lock = record_lock_kept(daemon, ret->id, KEPT_WAIT_MS, err);
    return *ret_lock < 0 ? *ret_lock : 0;
}

int method_inspect(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = NULL;
    _cleanup_record_ struct record record = {0};
    int r = call_need_text(call, "name", &name, err);
    if (r < 0)
        return r;
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    if (kept < 0)
        return kept;
    r = find_in(running, name, call->peer, &record, err);
    if (r == 0)
        r = find_in(kept, name, call->peer, &record, err);
    if (r <= 0)
        return r < 0 ? r : no_such(name, err);
    json_t *sandbox = describe(daemon, &record);
    _cleanup_close_ int leaf = cgroup_open(daemon->cgroup_fd, record.id);
    json_t *limits = leaf < 0 ? NULL : limits_to_json(leaf);
    json_t *of_record = json_object_get(sandbox, "limits");
    if (of_record && limits)
        (void)json_object_update(of_record, limits);
    else if (sandbox && limits)
        (void)json_object_set(sandbox, "limits", limits);
    json_decref(limits);
    return call_done(call, json_pack("{s:o}", "sandbox", sandbox), err);
}

/* A kept sandbox whose record is damaged is named by its id, and can only be removed. */
static int take_damaged(struct daemon *daemon, const char *id, struct record *ret,
                        int *ret_lock)
{
    _cleanup_close_ int kept = records_kept(daemon, NULL);
    if (kept < 0 || !name_is_clone(id) || faccessat(kept, id, F_OK, AT_SYMLINK_NOFOLLOW) < 0)
        return -ENOENT;
    *ret_lock = record_lock(kept, id);
    return *ret_lock < 0                                   ? *ret_lock
           : record_read_damaged(kept, id, ret, NULL) == 1 ? 0
                                                           : -EBUSY;
}

int method_remove(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    _cleanup_record_ struct record record = {0};
    _cleanup_close_ int lock = -EBADF;
    const char *name = call_text(call, "name");
    int r = take_kept(call, &record, &lock, err);
    if (r < 0 && name && call->peer->uid == 0 &&
        take_damaged(daemon, name, &record, &lock) == 0)
        r = 0;
    if (r == 0)
        r = recover_destroy(daemon, &record, err);
    return r < 0 ? r : call_done(call, json_pack("{s:s}", "id", record.id), err);
}

#define CHANGES_PER_REPLY 1000

struct diff_output {
    struct call *call;
    json_t *changes;
};

static int flush_changes(struct diff_output *output, bool continues)
{
    json_t *reply = json_pack("{s:o}", "changes", output->changes);
    output->changes = json_array();
    if (!reply || !output->changes)
        return -ENOMEM;
    session_reply(output->call->session, reply, continues);
    return 0;
}

/* JSON is UTF-8: of a path that is not, the exact bytes go into path_base64. */
static json_t *change_to_json(const char *kind, const char *path)
{
    char escaped[8192];
    _cleanup_buffer_ struct buffer base64 = {0};
    if (text_is_utf8(path, strlen(path)))
        return json_pack("{s:s, s:s}", "kind", kind, "path", path);
    text_escape(escaped, sizeof(escaped), path);
    base64_encode(&base64, path, strlen(path));
    return json_pack("{s:s, s:s, s:s}", "kind", kind, "path", escaped, "path_base64",
                     base64.data);
}

static int on_difference(void *data, enum diff_kind kind, const char *path)
{
    struct diff_output *output = data;
    char letter[2] = {(char)kind, '\0'};
    if (json_array_append_new(output->changes, change_to_json(letter, path)) < 0)
        return -ENOMEM;
    return json_array_size(output->changes) < CHANGES_PER_REPLY ? 0
                                                                : flush_changes(output, true);
}

/* A template's name is one for all storages; within one the driver looks itself. */
static int check_elsewhere(struct daemon *daemon, const struct storage *storage,
                           const char *name, struct error *err)
{
    _cleanup_storage_ struct storage other = {0};
    struct template_info info;
    if (template_find(daemon, name, &other, &info, NULL) < 0 ||
        streq(other.name, storage->name))
        return 0;
    return fail(err, ERROR_EXISTS, EEXIST,
                "template \"%s\" exists, in storage %s; choose a new name", name, other.name);
}

int method_diff(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    _cleanup_record_ struct record record = {0};
    _cleanup_close_ int lock = -EBADF;
    _cleanup_storage_ struct storage storage = {0};
    struct provided_file files[START_FILES];
    int r = take_kept(call, &record, &lock, err);
    if (r == 0)
        r = storage_open(record.storage, daemon->state_fd, &storage, err);
    if (r == 0)
        r = storage_require(&storage, STORAGE_DIFF, "tell what changed", err);
    if (r < 0)
        return r;
    struct provided_list provided = {
        .items = files,
        .n = provide_view(record.provided, files, START_FILES),
    };
    struct diff_output output = {.call = call, .changes = json_array()};
    r = storage.driver->diff(&storage, record.id, &provided, on_difference, &output, err);
    if (r == 0)
        r = flush_changes(&output, false);
    json_decref(output.changes);
    return r;
}

/* 1: there was nothing to commit. */
static int commit_clone(struct call *call, const struct record *record,
                        const struct template_info *info,
                        char ret_generation[static GENERATION_SIZE], struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    _cleanup_storage_ struct storage storage = {0};
    struct provided_file files[START_FILES];
    int r =
        record->open_elsewhere
            ? fail(err, ERROR_BUSY, EBUSY,
                   "sandbox %s: when it ended, a file of it was open for writing outside of "
                   "it, so it could change behind a template's back; copy what you need into "
                   "a new one",
                   record->id)
            : storage_open(record->storage, daemon->state_fd, &storage, err);
    if (r == 0)
        r = storage_require(&storage, STORAGE_DIFF, "make a template of a clone", err);
    if (r == 0)
        r = check_elsewhere(daemon, &storage, info->name, err);
    if (r < 0)
        return r;
    struct provided_list provided = {
        .items = files,
        .n = provide_view(record->provided, files, START_FILES),
    };
    struct template_info with_defaults = *info;
    with_defaults.defaults = record->defaults; /* a new template goes on with them */
    stock_drop(daemon, info->name);
    int done = storage.driver->commit(&storage, record->id, &provided, &with_defaults,
                                      ret_generation, err);
    stock_renew(daemon, info->name);
    if (done < 0)
        return storage_advise(&storage, done, err);
    pool_templates_changed(daemon);
    /* the generation is there: what cannot be tidied up now is no failure of the commit */
    struct error later = {0};
    if (done == 0 && (generations_retire(daemon, &storage, info->name, &later) < 0 ||
                      storage.driver->collect(&storage, &later) < 0))
        log_warning("%s", later.text);
    return done;
}

/* unchanged: 1 where the generation is the one that was there before. */
static int committed(struct call *call, const struct template_info *info,
                     const char *generation, int unchanged, struct error *err)
{
    return call_done(call,
                     json_pack("{s:s, s:s, s:b}", "template", info->name, "generation",
                               generation, "changed", (int)(unchanged == 0)),
                     err);
}

int method_commit(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = NULL;
    const char *template_name = NULL;
    struct template_info info = {0};
    int r = call_need_text(call, "name", &name, err);
    if (r == 0)
        r = call_need_text(call, "template", &template_name, err);
    if (r == 0)
        r = name_check_template(template_name, err);
    if (r < 0)
        return r;
    (void)snprintf(info.name, sizeof(info.name), "%s", template_name);
    (void)snprintf(info.source, sizeof(info.source), "commit:%.200s", name);
    char generation[GENERATION_SIZE] = "";
    struct sandbox *held = sandbox_find_held(daemon, name);
    if (held) {
        r = commit_clone(call, &held->body.record, &info, generation, err);
        if (r < 0)
            return r; /* it goes with its caller */
        named_lock_pass_on(&held->update);
        return committed(call, &info, generation, r, err);
    }
    _cleanup_record_ struct record record = {0};
    _cleanup_close_ int lock = -EBADF;
    r = take_kept(call, &record, &lock, err);
    if (r < 0)
        return r;
    r = commit_clone(call, &record, &info, generation, err);
    if (r < 0 && err->code == ERROR_NO_SPACE)
        return error_suffix(err, r, "; the sandbox stays as it is");
    if (r < 0)
        return r;
    if (r == 1)
        return committed(call, &info, generation, 1, err);
    /* what isolate wrote may still be in the clone, and is no change of the new generation */
    (void)snprintf(record.template_name, sizeof(record.template_name), "%s", info.name);
    (void)snprintf(record.generation, sizeof(record.generation), "%s", generation);
    _cleanup_close_ int kept = records_kept(daemon, err);
    r = kept < 0 ? kept : record_write(kept, &record, &lock, err);
    return r < 0 ? r : committed(call, &info, generation, 0, err);
}

struct pruning {
    struct daemon *daemon;
    int dir_fd;
    json_t *removed;
    struct error *err;
};

static int prune_kept(void *data, const char *id)
{
    struct pruning *pruning = data;
    _cleanup_record_ struct record record = {0};
    struct error busy;
    _cleanup_close_ int lock = record_lock_kept(pruning->daemon, id, 0, &busy);
    if (lock < 0)
        return 0;
    int r = record_read_damaged(pruning->dir_fd, id, &record, pruning->err);
    if (r >= 0)
        r = recover_destroy(pruning->daemon, &record, pruning->err);
    return r < 0 ? r : json_array_append_new(pruning->removed, json_string(id));
}

int method_prune(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    struct pruning pruning = {.daemon = daemon, .removed = json_array(), .err = err};
    json_t *warnings = call_warnings(call);
    int r = recover_sweep(daemon, warnings, err);
    if (r == 0 && json_is_true(json_object_get(call->parameters, "kept"))) {
        _cleanup_close_ int kept = records_kept(daemon, err);
        pruning.dir_fd = kept;
        r = kept < 0 ? kept : record_for_each(kept, prune_kept, &pruning);
    }
    if (r < 0) {
        json_decref(pruning.removed);
        json_decref(warnings);
        return r;
    }
    return call_done(
        call, json_pack("{s:o, s:o*}", "removed", pruning.removed, "warnings", warnings), err);
}

int method_status(struct call *call, struct error *err)
{
    return call_done(
        call, json_pack("{s:o}", "leftovers", recover_leftovers(session_daemon(call->session))),
        err);
}
