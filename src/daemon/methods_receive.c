/* SPDX-License-Identifier: Apache-2.0 */
/* TemplateReceive: a generation comes in as a stream. Three workers do it, one after the other:
 * one reads the header, which says where it fits; one fills an import; one hashes what the
 * generation would be. Only then it appears. A stream of ZFS is put into a file by the second
 * one, and is the driver's from there on. Runs as root in a fork of isolated, or in
 * a one-shot; only root may call it. The stream is hostile. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/stream_header.h"
#include "daemon/templates.h"
#include "storage/location.h"
#include "sys/fd.h"

#include <string.h>

struct receiving {
    struct daemon *daemon;
    uint64_t session_id; /* replies go there while it is still there */
    struct storage storage;
    struct template_info info;
    char *wanted; /* storage, or NULL */
    char *text;   /* of the header */
    struct stream_header header;
    struct named_lock lock; /* creation of this name */
    struct storage_import import;
    int payload_fd; /* of a native stream */
    bool begun;
    int stream_fd;
    int progress_fd;
};

/* What has begun goes. */
static void receiving_abort(struct receiving *receiving)
{
    receiving->import.tree_fd = fd_close(receiving->import.tree_fd);
    if (receiving->begun)
        (void)!receiving->storage.driver->abort(&receiving->storage, receiving->import.key,
                                                NULL);
    receiving->begun = false;
}

static void receiving_free(struct receiving *receiving)
{
    named_unlock(&receiving->lock);
    receiving_abort(receiving);
    storage_close(&receiving->storage);
    fd_close(receiving->payload_fd);
    json_decref(receiving->header.defaults);
    fd_close(receiving->stream_fd);
    fd_close(receiving->progress_fd);
    free(receiving->wanted);
    free(receiving->text);
    free(receiving);
}

static struct session *receiving_session(const struct receiving *receiving)
{
    return session_find(receiving->daemon, receiving->session_id);
}

/* The end of one that failed. Who hears of it finds nothing left. */
static void receiving_fail(struct receiving *receiving, int result, struct error *err)
{
    receiving_abort(receiving);
    result = storage_advise(&receiving->storage, result, err);
    (void)template_failed(receiving->info.name, "receive: ", result, err);
    session_fail(receiving_session(receiving), err);
    receiving_free(receiving);
}

/* The next worker, of the same caller. */
static int start(struct receiving *receiving, struct worker_request *request, struct error *err)
{
    request->session = receiving_session(receiving);
    request->stderr_fd = receiving->progress_fd;
    request->data = receiving;
    return request->session ? worker_start(receiving->daemon, request, err)
                            : fail(err, ERROR_SYSTEM, ECONNRESET, "the client is gone");
}

/* The driver takes the stream as it is. */
static bool is_of_driver(const struct receiving *receiving)
{
    return receiving->header.is_native && receiving->storage.driver->arrivals->natives;
}

static int publish(struct receiving *receiving, struct error *err)
{
    struct storage *storage = &receiving->storage;
    if (!receiving_session(receiving))
        return fail(err, ERROR_SYSTEM, ECONNRESET, "the client is gone");
    receiving->import.tree_fd = fd_close(receiving->import.tree_fd);
    const struct storage_arrivals *arrivals = storage->driver->arrivals;
    const struct storage_import *import = &receiving->import;
    const struct generation_arrival *arrival = &receiving->header.arrival;
    int r = is_of_driver(receiving)
                ? arrivals->natives->publish(storage, import, receiving->payload_fd,
                                             &receiving->info, arrival, err)
                : arrivals->publish(storage, import, &receiving->info, arrival, err);
    if (r < 0)
        return r;
    receiving->begun = false;
    r = storage_register(receiving->daemon->state_fd, storage->name, err);
    pool_templates_changed(receiving->daemon);
    struct error later = {0};
    if (generations_retire(receiving->daemon, storage, receiving->info.name, &later) < 0)
        log_warning("%s", later.text);
    return r;
}

/* All that was read is right. */
static void finish(struct receiving *receiving, int result, struct error *err)
{
    int r = result < 0 ? result : publish(receiving, err);
    if (r < 0) {
        receiving_fail(receiving, r, err);
        return;
    }
    session_reply(receiving_session(receiving),
                  json_pack("{s:s, s:s, s:s, s:s*}", "template", receiving->info.name,
                            "generation", receiving->header.arrival.id, "storage",
                            receiving->storage.name, "in_memory",
                            location_in_memory(&receiving->storage)),
                  false);
    receiving_free(receiving);
}

static void on_native(void *data, int result, const char *output, struct error *err)
{
    finish(data, result, err);
}

/* Where the file system's own form was the wrong one, there is another. */
static int advise_native(const struct receiving *receiving, int result, struct error *err)
{
    return result < 0 && receiving->header.is_native && !is_of_driver(receiving)
               ? error_suffix(err, result, "; or send it without --native")
               : result;
}

static void on_hashed(void *data, int result, const char *output, struct error *err)
{
    struct receiving *receiving = data;
    const struct stream_header *header = &receiving->header;
    int r = result;
    if (r == 0 && strncmp(output, header->tree, strlen(header->tree)) != 0)
        r = fail(err, ERROR_INVALID, EBADMSG,
                 "what it makes is not what was sent (hash %.64s instead of %s): the storage's "
                 "file system does not keep all of it, or the stream is a wrong one",
                 output, header->tree);
    r = advise_native(receiving, r, err);
    finish(receiving, r, err);
}

static void on_filled(void *data, int result, const char *output, struct error *err)
{
    struct receiving *receiving = data;
    struct storage *storage = &receiving->storage;
    _cleanup_close_ int mount = -EBADF;
    int r = advise_native(receiving, result, err);
    if (r == 0)
        r = storage->driver->arrivals->mount(storage, receiving->info.name,
                                             receiving->header.arrival.base, &receiving->import,
                                             &mount, err);
    struct worker_request request = {.argv = {"hash", "@0"}, .fds = {mount}, .done = on_hashed};
    if (r == 0)
        r = start(receiving, &request, err);
    if (r < 0)
        receiving_fail(receiving, r, err);
}

/* Where the generation that the stream follows is the current one here, whatever its name. */
static int find_base(struct receiving *receiving, struct error *err)
{
    struct stream_header *header = &receiving->header;
    const struct generation *base = NULL;
    const struct generation *current = NULL;
    _cleanup_generations_ struct generation_list list = {0};
    const char *name = receiving->info.name;
    int r = receiving->storage.driver->generations(&receiving->storage, name, &list, err);
    for (size_t i = 0; r == 0 && i < list.n; i++) {
        const struct generation *generation = &list.items[i];
        if (streq(generation->id, header->arrival.id))
            return fail(
                err, ERROR_EXISTS, EEXIST,
                streq(generation->identity, header->arrival.identity)
                    ? "template \"%s\" has generation %s already; where another one is the "
                      "current one, `isolate template rollback` makes it that"
                    : "template \"%s\" has another generation of the name %s",
                name, generation->id);
        if (streq(generation->identity, header->base_identity) &&
            (!base || generation->current))
            base = generation;
        if (generation->current)
            current = generation;
    }
    if (r < 0)
        return r;
    if (!base || !current)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "template \"%s\": the stream holds what has changed since generation %s, "
                    "which is not here; send all of it (without --since) to another name, or "
                    "since one that is here",
                    name, header->base);
    if (base != current)
        return fail(err, ERROR_BUSY, EBUSY,
                    "template \"%s\": the stream follows generation %s, but the current one is "
                    "%s; `isolate template rollback %s %s` makes it fit",
                    name, base->id, current->id, name, base->id);
    (void)snprintf(header->arrival.base, GENERATION_SIZE, "%s", base->id);
    return 0;
}

static int check_native(const struct receiving *receiving, struct error *err)
{
    const char *driver = receiving->header.driver;
    const struct storage *storage = &receiving->storage;
    bool is_subvolume = storage->driver->capabilities & STORAGE_SUBVOLUMES;
    if (streq(driver, storage->driver->name) && is_subvolume && !*receiving->header.tree)
        return fail(err, ERROR_INVALID, EBADMSG,
                    "the stream is damaged: its header has no hash; send it again");
    if (streq(driver, storage->driver->name) &&
        (is_subvolume || storage->driver->arrivals->natives))
        return 0;
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "the stream is one of the storage driver %s's own (send --native), which "
                "storage %s cannot take; receive it in a storage of that driver, or send it "
                "without --native",
                driver, storage->name);
}

static int find_place(struct receiving *receiving, struct error *err)
{
    struct template_info known;
    const struct stream_header *header = &receiving->header;
    const char *name = receiving->info.name;
    int r = 0;
    if (*header->base) {
        r = template_find_in(receiving->daemon, name, receiving->wanted, &receiving->storage,
                             err);
    } else {
        _cleanup_storage_ struct storage existing = {0};
        if (template_find(receiving->daemon, name, &existing, &known, NULL) == 0)
            return fail(err, ERROR_EXISTS, EEXIST,
                        "template \"%s\" exists, and the stream holds all of a template; "
                        "receive it under another name, or send what has changed since a "
                        "generation that is here (--since)",
                        name);
        r = template_storage_choose(receiving->daemon, receiving->wanted, &receiving->storage,
                                    err);
    }
    if (r == 0)
        r = storage_require(&receiving->storage, STORAGE_ARRIVALS, "receive templates", err);
    if (r == 0 && header->is_native)
        r = check_native(receiving, err);
    return r == 0 && *header->base ? find_base(receiving, err) : r;
}

static int fill_native(struct receiving *receiving, struct error *err)
{
    struct storage *storage = &receiving->storage;
    struct storage_import *import = &receiving->import;
    int r = storage->driver->arrivals->natives->begin(storage, receiving->header.arrival.base,
                                                      import, &receiving->payload_fd, err);
    receiving->begun = r == 0;
    struct worker_request request = {
        .argv = {"receive-native", "@0", "@1", "@2", receiving->text},
        .fds = {receiving->stream_fd, receiving->payload_fd,
                import->tree_fd}, /* and its lock */
        .done = on_native,
    };
    return r < 0 ? r : start(receiving, &request, err);
}

static int fill(struct receiving *receiving, struct error *err)
{
    if (is_of_driver(receiving))
        return fill_native(receiving, err);
    struct storage *storage = &receiving->storage;
    struct storage_import *import = &receiving->import;
    int r = storage->driver->arrivals->begin(storage, receiving->info.name,
                                             receiving->header.arrival.base, import, err);
    receiving->begun = r == 0;
    _cleanup_close_ int view = r < 0 ? r : template_tree_view(import->tree_fd, err);
    if (view < 0)
        return view;
    const char *form = receiving->header.is_native ? "btrfs"
                       : import->is_layer          ? "layer"
                                                   : "tree";
    struct worker_request request = {
        .argv = {"receive", "@0", "@1", form, receiving->text},
        .fds = {receiving->stream_fd, view, import->tree_fd}, /* the last one is the lock */
        .done = on_filled,
    };
    return start(receiving, &request, err);
}

static void on_header(void *data, int result, const char *output, struct error *err)
{
    struct receiving *receiving = data;
    int r = result;
    receiving->text = strdup(output);
    if (r == 0 && !receiving->text)
        r = fail(err, ERROR_SYSTEM, ENOMEM, "read the stream: ");
    if (r == 0)
        r = stream_header_read(output, &receiving->header, err);
    if (r == 0)
        r = named_lock(receiving->daemon, "create", receiving->info.name, &receiving->lock,
                       err);
    if (r == 0)
        r = find_place(receiving, err);
    (void)snprintf(receiving->info.source, sizeof(receiving->info.source), "%s",
                   receiving->header.source);
    receiving->info.defaults = receiving->header.defaults;
    if (r == 0)
        r = fill(receiving, err);
    if (r < 0)
        receiving_fail(receiving, r, err);
}

static struct receiving *receiving_new(struct call *call, const char *name)
{
    struct receiving *receiving = calloc(1, sizeof(*receiving));
    const char *storage = call_text(call, "storage");
    char *wanted = storage ? strdup(storage) : NULL;
    if (!receiving || (storage && !wanted)) {
        free(receiving);
        free(wanted);
        return NULL;
    }
    receiving->daemon = session_daemon(call->session);
    receiving->session_id = session_id(call->session);
    receiving->storage.dir_fd = receiving->storage.import_fd = -EBADF;
    receiving->wanted = wanted;
    receiving->lock.fd = receiving->import.tree_fd = receiving->payload_fd = -EBADF;
    receiving->stream_fd = TAKE_FD(call->fds->fds[0]);
    receiving->progress_fd = call->fds->n > 1 ? TAKE_FD(call->fds->fds[1]) : -EBADF;
    (void)snprintf(receiving->info.name, sizeof(receiving->info.name), "%s", name);
    return receiving;
}

int method_template_receive(struct call *call, struct error *err)
{
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    if (r == 0)
        r = name_check_template(name, err);
    if (r == 0 && call->fds->n == 0)
        r = fail(err, ERROR_INVALID, EINVAL, "%s: the fd to read from is missing",
                 call->method);
    if (r < 0)
        return r;
    struct receiving *receiving = receiving_new(call, name);
    if (!receiving)
        return fail(err, ERROR_SYSTEM, ENOMEM, "template receive: ");
    struct worker_request request = {
        .argv = {"receive-header", "@0"},
        .fds = {receiving->stream_fd},
        .done = on_header,
    };
    r = start(receiving, &request, err);
    if (r < 0)
        receiving_free(receiving);
    return r;
}
