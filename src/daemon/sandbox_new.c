/* SPDX-License-Identifier: Apache-2.0 */
/* What a request says of a sandbox that is to be made: its template, names and storage. Runs in
 * isolated as root; the request is the caller's. */
#include "daemon/sandbox.h"

#include "base/text.h"
#include "daemon/network.h"
#include "daemon/policy.h"
#include "daemon/templates.h"
#include "sys/caps.h"
#include "sys/kernel.h"

#include <string.h>

/* on the event loop: as long as another process takes to end, and no longer */
#define KEPT_WAIT_MS 10

/* A clone's name for a one-off root: the last component of its path, as far as letters allow.
 */
static void base_of_path(const char *path, char *out, size_t size)
{
    const char *last = strrchr(path, '/');
    size_t o = 0;
    for (const char *p = last ? last + 1 : path; *p && o + 1 < size && o < 40; p++) {
        char c = *p;
        if (c >= 'A' && c <= 'Z')
            c = (char)(c - 'A' + 'a');
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
    struct body *body = &sandbox->body;
    const char *wanted = sandbox->request.kept;
    uint32_t viewer = body->record.owner_uid;
    char id[CLONE_NAME_SIZE];
    _cleanup_close_ int kept = records_kept(body->daemon, err);
    int found = kept < 0 ? kept : record_find(kept, wanted, viewer, id);
    if (found < 0)
        return fail(err, ERROR_SYSTEM, found, "kept sandboxes: ");
    if (found == 0)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "\"%.80s\": no such kept sandbox; see `isolate ps -a`", wanted);
    body->kept_lock_fd = record_lock_kept(body->daemon, id, KEPT_WAIT_MS, err);
    if (body->kept_lock_fd < 0)
        return body->kept_lock_fd;
    /* the record keeps the request that made the sandbox: a start may bring another command */
    record_clear(&body->record);
    body->kept = body->restarted = true;
    int r = record_read(kept, id, &body->record, err);
    return r < 0 ? r : policy_check_kept(sandbox, &body->record, err);
}

static int identify_template(struct sandbox *sandbox, char *base, size_t size,
                             struct error *err)
{
    const struct run_request *request = &sandbox->request;
    struct record *record = &sandbox->body.record;
    size_t length = request->generation ? strlen(request->generation) : 1;
    if (length == 0 || length >= sizeof(record->generation))
        return generation_unknown(request->template_name, request->generation, err);
    (void)snprintf(base, size, "%s", request->template_name);
    (void)snprintf(record->template_name, sizeof(record->template_name), "%s", base);
    (void)snprintf(record->generation, sizeof(record->generation), "%s",
                   request->generation ? request->generation : "");
    int r = template_find_in(sandbox->body.daemon, base, request->storage,
                             &sandbox->body.storage, err);
    if (r == 0)
        r = body_take_defaults(&sandbox->body, err);
    if (r < 0 || !request->hold)
        return r;
    return named_lock(sandbox->body.daemon, "update", base, &sandbox->update, err);
}

/* The storage that runs on a directory: the caller's choice, below the state directory. */
static int open_for_root(struct sandbox *sandbox, struct error *err)
{
    struct body *body = &sandbox->body;
    const char *name = sandbox->request.storage;
    if (name && strchr(name, ':'))
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "--storage \"%.80s\": a run on a directory has no location; use overlay or "
                    "dir",
                    name);
    int r = storage_open(name, body->daemon->state_fd, &body->storage, err);
    return r < 0 ? r
                 : storage_require(&body->storage, STORAGE_ROOTS, "run on a directory", err);
}

static int identify_root(struct sandbox *sandbox, char *base, size_t size, struct error *err)
{
    const struct run_request *request = &sandbox->request;
    const char *path = request->host ? "/" : request->root;
    int r = open_for_root(sandbox, err);
    if (r < 0)
        return r;
    base_of_path(request->host ? "host" : path, base, size);
    sandbox->body.record.root = strdup(path);
    return sandbox->body.record.root ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "template: ");
}

/* A template that templates.d says is a directory: the administrator's path, so it is opened
 * here.
 */
static int identify_configured(struct sandbox *sandbox, const struct template_config *template,
                               struct error *err)
{
    const struct run_request *request = &sandbox->request;
    struct record *record = &sandbox->body.record;
    int r = open_for_root(sandbox, err);
    if (r < 0)
        return r;
    if (record->owner_uid != 0 &&
        !(sandbox->body.storage.driver->capabilities & STORAGE_DISPOSABLE))
        return fail(err, ERROR_DENIED, EPERM,
                    "--storage %s: on template \"%s\" for root only: what is made there stays, "
                    "set-id programs of root's, too",
                    sandbox->body.storage.name, template->name);
    if (request->generation || request->hold)
        return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                    "template \"%s\" is the directory %s: it has no generations",
                    template->name, template->root);
    sandbox->root_fd = template_open_root(template, err);
    if (sandbox->root_fd < 0)
        return sandbox->root_fd;
    (void)snprintf(record->template_name, sizeof(record->template_name), "%s", template->name);
    record->root = strdup(template->root);
    return record->root ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "template: ");
}

static int identify_kind(struct sandbox *sandbox, char *base, size_t size, struct error *err)
{
    const char *name = sandbox->request.template_name;
    if (!name)
        return identify_root(sandbox, base, size, err);
    const struct template_config *template =
        config_template(&sandbox->body.daemon->config, name);
    if (!template || !template->root)
        return identify_template(sandbox, base, size, err);
    (void)snprintf(base, size, "%s", name);
    return identify_configured(sandbox, template, err);
}

int sandbox_check_engine(const struct engine *engine, const struct run_request *request,
                         struct error *err)
{
    int r =
        request->display.directory
            ? engine_require(engine, ENGINE_DISPLAY,
                             "hand over a display or sound (--x11, --wayland, --audio)", err)
            : 0;
    if (r == 0 && request->boot)
        r = engine_require(engine, ENGINE_BOOTS, "start a template's own init (--boot)", err);
    if (r == 0 && request->n_binds > 0)
        r = engine_require(engine, ENGINE_BINDS, "bind directories of yours", err);
    if (r == 0 && request->capabilities != caps_default())
        r = engine_require(engine, ENGINE_CAPABILITIES,
                           "add or drop capabilities: its command has all", err);
    if (r == 0 && (request->seccomp.kind != SECCOMP_DEFAULT || request->seccomp.abi_32bit))
        r = engine_require(engine, ENGINE_FILTERS,
                           "filter system calls (--seccomp, --personality)", err);
    if (r == 0 && request->seccomp.kind == SECCOMP_NESTED)
        r = engine_require(engine, ENGINE_NESTED,
                           "let the command make namespaces (--seccomp nested)", err);
    if (r == 0 && request->first_id != 0)
        r = engine_require(engine, ENGINE_ISOLATES, "map ids: its command has the machine's",
                           err);
    /* it could unlock mounts: DESIGN.md, section 5 */
    if (r == 0 && (request->capabilities & caps_from_name("SYS_ADMIN")))
        r = engine_require(
            engine, ENGINE_NESTS,
            "give the capability CAP_SYS_ADMIN, to nest sandboxes: it would reach "
            "beyond this one",
            err);
    return r;
}

static int check_engine(const struct body *body, const struct run_request *request,
                        struct error *err)
{
    int r = sandbox_check_engine(body->engine, request, err);
    if (r < 0 || !(body->storage.driver->capabilities & STORAGE_DISPOSABLE))
        return r;
    return engine_require(
        body->engine, ENGINE_CLONES,
        "run in a clone, only on a directory itself (--storage dir, or -t DIR)", err);
}

static int check_disk(struct sandbox *sandbox, struct error *err)
{
    struct body *body = &sandbox->body;
    body->record.disk_bytes = sandbox->request.limits.disk_bytes;
    int r = body->record.disk_bytes == 0
                ? 0
                : storage_require(&body->storage, STORAGE_LIMIT, "limit disk space", err);
    return policy_say_disk(sandbox, r, err);
}

int sandbox_identify(struct sandbox *sandbox, struct error *err)
{
    const struct run_request *request = &sandbox->request;
    struct body *body = &sandbox->body;
    struct record *record = &body->record;
    char base[64];
    int r = engine_find(request->engine, &body->engine, err);
    if (r == 0 && (body->engine->capabilities & ENGINE_ISOLATES))
        r = kernel_check_calls(body->engine->package != NULL, err);
    if (r == 0 && body->engine->probe)
        r = body->engine->probe(engine_argument(request->engine), err);
    if (r == 0 && request->kept && request->limits.disk_bytes > 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "request: disk_bytes: a kept sandbox has the limit that it was made with");
    if (r == 0 && request->kept)
        r = identify_kept(sandbox, err);
    if (r == 0 && request->kept)
        r = storage_open(record->storage, body->daemon->state_fd, &body->storage, err);
    if (r == 0 && (request->own_network || network_is_made(&request->network)))
        r = engine_require(body->engine, ENGINE_ISOLATES,
                           "have a network of its own: it runs in the machine's", err);
    if (r == 0 && !(body->engine->capabilities & ENGINE_ISOLATES))
        sandbox->request.host_network = true;
    body->host_network = request->host_network;
    body->durable = request->keep || request->hold;
    if (r == 0 && !request->kept)
        r = identify_kind(sandbox, base, sizeof(base), err);
    if (r == 0)
        r = check_engine(body, request, err);
    if (r == 0)
        r = sandbox_check_hooks(sandbox, err);
    if (r < 0 || request->kept)
        return r;
    if (r == 0)
        r = check_disk(sandbox, err);
    if (r < 0)
        return r;
    body_name(body, base);
    record->first_id = request->first_id;
    body->kept = request->keep;
    sandbox_take_name(sandbox);
    (void)snprintf(record->state, sizeof(record->state), "building");
    (void)snprintf(record->storage, sizeof(record->storage), "%s", body->storage.name);
    (void)snprintf(record->engine, sizeof(record->engine), "%s", body->engine->name);
    return 0;
}
