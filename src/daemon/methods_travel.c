/* SPDX-License-Identifier: Apache-2.0 */
/* Methods by which templates leave the machine. An image worker reads the generation, by a
 * mount of its own, and writes into the file that the caller has opened. Run as root in a fork
 * of isolated, or in a one-shot; only root may call them. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/stream_header.h"
#include "daemon/templates.h"
#include "storage/arrival.h"
#include "sys/fd.h"

#include <string.h>

struct travel {
    struct daemon *daemon;
    uint64_t session_id; /* replies go there while it is still there */
    struct storage storage;
    struct template_info info;
    struct generation generation;
    json_t *defaults; /* the template's, NULL for none; left out where they have no place */
    bool has_place;
    const char *verb;
};

static void travel_free(struct travel *travel)
{
    storage_close(&travel->storage);
    json_decref(travel->defaults);
    free(travel);
}

/* What the call names: a template, and one of its generations or the current one. */
static int travel_new(struct call *call, struct travel **ret, struct error *err)
{
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    if (r < 0)
        return r;
    struct travel *travel = calloc(1, sizeof(*travel));
    if (!travel)
        return fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", call->method);
    travel->daemon = session_daemon(call->session);
    travel->session_id = session_id(call->session);
    travel->storage.dir_fd = travel->storage.import_fd = -EBADF;
    r = template_find(travel->daemon, name, &travel->storage, &travel->info, err);
    if (r == 0)
        r = template_generation(&travel->storage, name, call_text(call, "generation"),
                                &travel->generation, err);
    if (r == 0)
        r = travel->storage.driver->defaults(&travel->storage, name, &travel->defaults, err);
    if (r < 0) {
        travel_free(travel);
        return r;
    }
    *ret = travel;
    return 0;
}

/* An image worker has written what was asked for. */
static void on_written(void *data, int result, const char *output, struct error *err)
{
    struct travel *travel = data;
    struct session *session = session_find(travel->daemon, travel->session_id);
    if (result < 0) {
        (void)error_prefix(err, result, "template \"%s\": %s: ", travel->info.name,
                           travel->verb);
        session_fail(session, err);
    } else {
        session_reply(session,
                      json_pack("{s:s, s:s, s:b}", "template", travel->info.name, "generation",
                                travel->generation.id, "defaults_left_out",
                                travel->defaults && !travel->has_place),
                      false);
    }
    travel_free(travel);
}

static int need_output(const struct call *call, struct error *err)
{
    return call->fds->n > 0 ? 0
                            : fail(err, ERROR_INVALID, EINVAL,
                                   "%s: the fd to write to is missing", call->method);
}

/* Frees travel, now or when it is done. prepared: whether there is something to write, or
 * -errno. */
static int start(struct travel *travel, const struct call *call, int prepared,
                 struct worker_request *request, struct error *err)
{
    request->stderr_fd = call->fds->n > 1 ? call->fds->fds[1] : -EBADF;
    request->session = call->session;
    request->done = on_written;
    request->data = travel;
    int r = prepared < 0 ? prepared : worker_start(travel->daemon, request, err);
    if (r < 0)
        travel_free(travel);
    return r;
}

int method_template_export(struct call *call, struct error *err)
{
    struct travel *travel = NULL;
    _cleanup_close_ int mount = -EBADF;
    const char *tag = call_text(call, "tag");
    int r = need_output(call, err);
    if (r == 0 && tag)
        r = name_check_tag(tag, err);
    if (r == 0)
        r = travel_new(call, &travel, err);
    if (r != 0)
        return r;
    travel->verb = "export";
    r = travel->storage.driver->mount_generation(&travel->storage, travel->info.name,
                                                 travel->generation.id, &mount, err);
    travel->has_place = tag;
    _cleanup_free_ char *defaults = json_dumps(travel->defaults, JSON_COMPACT);
    if (r == 0 && travel->defaults && !defaults)
        r = fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", call->method);
    char created[24];
    (void)snprintf(created, sizeof(created), "%lld", (long long)travel->generation.created);
    struct worker_request request = {
        .argv = {tag ? "export-oci" : "export-tar", "@0", "@1", tag, created,
                 defaults ? defaults : "{}"},
        .fds = {mount, call->fds->fds[0]},
    };
    return start(travel, call, r, &request, err);
}

/* The header but for what the worker adds, and either two mounts, or the program that sends. */
struct sending {
    bool is_native;
    bool has_program;
    struct storage_native_program program;
    int mount;
    int base_mount;
    char *about;
};

static void sending_clear(struct sending *sending)
{
    fd_close(sending->mount);
    fd_close(sending->base_mount);
    free(sending->about);
}

static int mount_both(struct travel *travel, const struct generation *base,
                      struct sending *sending, struct error *err)
{
    struct storage *storage = &travel->storage;
    const char *name = travel->info.name;
    int r = storage->driver->mount_generation(storage, name, travel->generation.id,
                                              &sending->mount, err);
    if (r == 0 && base)
        r = storage->driver->mount_generation(storage, name, base->id, &sending->base_mount,
                                              err);
    return r;
}

static int choose_native(struct travel *travel, const struct generation *base,
                         struct sending *sending, struct error *err)
{
    struct storage *storage = &travel->storage;
    const struct storage_natives *natives = storage->driver->arrivals->natives;
    sending->has_program = natives;
    if (storage->driver->capabilities & STORAGE_SUBVOLUMES)
        return mount_both(travel, base, sending, err);
    return natives ? natives->program(storage, travel->info.name, travel->generation.id,
                                      base ? base->id : NULL, &sending->program, err)
                   : fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                          "storage %s has no streams of its own; send without --native",
                          storage->name);
}

static int prepare(struct travel *travel, const char *since, struct sending *sending,
                   struct error *err)
{
    struct storage *storage = &travel->storage;
    const char *name = travel->info.name;
    struct generation found = {0};
    const struct generation *base = since ? &found : NULL;
    int r = storage_require(storage, STORAGE_ARRIVALS, "send templates", err);
    if (r == 0 && since)
        r = template_generation(storage, name, since, &found, err);
    if (r == 0 && since && streq(found.identity, travel->generation.identity))
        r = fail(err, ERROR_INVALID, EINVAL,
                 "template \"%s\": nothing has changed from %s to %s", name, found.id,
                 travel->generation.id);
    if (r == 0)
        r = sending->is_native ? choose_native(travel, base, sending, err)
                               : mount_both(travel, base, sending, err);
    if (r < 0)
        return r;
    travel->has_place = true; /* in what comes after a base they are there already */
    travel->info.defaults = travel->defaults;
    sending->about = stream_header_make(storage, &travel->info, &travel->generation, base,
                                        sending->has_program);
    return sending->about ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "template send: ");
}

static void request_program(struct worker_request *request, const struct sending *sending)
{
    const size_t n = 3;
    const char *const beginning[] = {"send-native", "@0", sending->about};
    memset(request->argv, 0, sizeof(request->argv));
    memcpy(request->argv, beginning, sizeof(beginning));
    for (size_t i = 0; i < ELEMENTS(sending->program.argv); i++)
        request->argv[n + i] = sending->program.argv[i];
}

int method_template_send(struct call *call, struct error *err)
{
    struct travel *travel = NULL;
    const char *since = call_text(call, "since");
    _cleanup_(sending_clear) struct sending sending = {.mount = -EBADF, .base_mount = -EBADF};
    int r = need_output(call, err);
    if (r == 0)
        r = travel_new(call, &travel, err);
    if (r < 0)
        return r;
    travel->verb = "send";
    sending.is_native = json_is_true(json_object_get(call->parameters, "native"));
    r = prepare(travel, since, &sending, err);
    struct worker_request request = {
        .argv = {"send", "@0", "@1", since ? "@2" : "-", sending.is_native ? "btrfs" : "tar",
                 sending.about},
        .fds = {call->fds->fds[0], sending.mount, sending.base_mount},
    };
    if (sending.has_program)
        request_program(&request, &sending);
    return start(travel, call, r, &request, err);
}
