/* SPDX-License-Identifier: Apache-2.0 */
/* Methods that an image worker does: making a template, hashing one. They reply when the worker
 * is done. Run as root in a fork of isolated, or in a one-shot; the source is the caller's word
 * and is read by the worker. */
#include "base/text.h"
#include "daemon/image_layers.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/templates.h"
#include "spec/defaults.h"
#include "storage/layers.h"
#include "storage/location.h"
#include "sys/fd.h"

#include <string.h>

struct image_job {
    struct daemon *daemon;
    uint64_t session_id; /* replies go there while it is still there */
    const struct session *asked_by;
    struct storage storage;
    struct template_info info;
    char key[64];
    struct named_lock lock;      /* creation of this name */
    int tree_fd;                 /* of the import, until it is filled */
    struct image_layers *layers; /* where the storage keeps those of images one by one */
};

static struct image_job *job_new(struct call *call)
{
    struct image_job *job = calloc(1, sizeof(*job));
    if (job) {
        job->daemon = session_daemon(call->session);
        job->session_id = session_id(call->session);
        job->asked_by = call->session;
        job->storage.dir_fd = job->lock.fd = job->tree_fd = -EBADF;
    }
    return job;
}

static void job_free(struct image_job *job)
{
    named_unlock(&job->lock);
    job->tree_fd = fd_close(job->tree_fd);
    image_layers_free(job->layers);
    storage_close(&job->storage);
    json_decref(job->info.defaults);
    free(job);
}

/* The client may have gone while the worker ran. */
static struct session *job_session(const struct image_job *job)
{
    return session_find(job->daemon, job->session_id);
}

static int publish(struct image_job *job, char ret_generation[static GENERATION_SIZE],
                   struct error *err)
{
    const struct storage_driver *driver = job->storage.driver;
    struct layering *layering = image_layers_made(job->layers);
    return layering ? driver->layers->publish(layering, &job->info, ret_generation, err)
                    : driver->publish(&job->storage, job->key, &job->info, ret_generation, err);
}

static void on_created(void *data, int result, const char *output, struct error *err)
{
    struct image_job *job = data;
    struct session *session = job_session(job);
    char generation[GENERATION_SIZE] = "";
    int r = result;
    job->tree_fd = fd_close(job->tree_fd);
    if (r == 0 && !session)
        r = fail(err, ERROR_SYSTEM, ECONNRESET, "the client is gone");
    if (r == 0)
        r = defaults_parse(output, strlen(output), &job->info.defaults, err);
    if (r == 0)
        r = publish(job, generation, err);
    if (r == 0)
        r = storage_register(job->daemon->state_fd, job->storage.name, err);
    if (r == 0)
        pool_templates_changed(job->daemon);
    named_unlock(&job->lock); /* who is told may go on at once */
    r = storage_advise(&job->storage, r, err);
    if (r < 0) {
        struct error ignored;
        (void)!job->storage.driver->abort(&job->storage, job->key, &ignored);
        (void)template_failed(job->info.name, "", r, err);
        session_fail(session, err);
    } else {
        session_reply(session,
                      json_pack("{s:s, s:s, s:s, s:s*}", "template", job->info.name,
                                "generation", generation, "storage", job->storage.name,
                                "in_memory", location_in_memory(&job->storage)),
                      false);
    }
    job_free(job);
}

static int start_worker(struct image_job *job, const char *source, int stderr_fd,
                        struct error *err)
{
    _cleanup_close_ int layers = -EBADF;
    _cleanup_close_ int view = template_tree_view(job->tree_fd, err);
    if (view < 0)
        return view;
    bool layered = job->storage.driver->capabilities & STORAGE_LAYERS;
    int r = layered ? image_layers_start(job->daemon, &job->storage, job->key, &job->layers,
                                         &layers, err)
                    : 0;
    if (r < 0)
        return r;
    const struct worker_request request = {
        .argv = {layered ? "import-layers" : "import", source, "@0", layered ? "@2" : NULL},
        .fds = {view, job->tree_fd, layers}, /* the second one is the lock of the import */
        .stderr_fd = stderr_fd,
        .session = job->asked_by,
        .done = on_created,
        .data = job,
    };
    return worker_start(job->daemon, &request, err);
}

static int start_import(struct image_job *job, const char *source, int stderr_fd,
                        struct error *err)
{
    int r = job->storage.driver->import(&job->storage, job->key, sizeof(job->key),
                                        &job->tree_fd, err);
    if (r < 0)
        return storage_advise(&job->storage, r, err);
    r = start_worker(job, source, stderr_fd, err);
    if (r < 0) {
        struct error ignored;
        (void)!job->storage.driver->abort(&job->storage, job->key, &ignored);
    }
    return r;
}

int method_template_create(struct call *call, struct error *err)
{
    struct image_job *job = job_new(call);
    const char *name = NULL;
    const char *source = NULL;
    const char *origin = call_text(call, "origin");
    _cleanup_storage_ struct storage existing = {0};
    struct template_info info;
    if (!job)
        return fail(err, ERROR_SYSTEM, ENOMEM, "template create: ");
    int r = call_need_text(call, "name", &name, err);
    if (r == 0)
        r = call_need_text(call, "source", &source, err);
    if (r == 0)
        r = name_check_template(name, err);
    if (r == 0 && strlen(origin ? origin : source) >= sizeof(job->info.source))
        r = fail(err, ERROR_INVALID, ENAMETOOLONG,
                 "template \"%s\": the source has more than %zu bytes; use a shorter path",
                 name, sizeof(job->info.source) - 1);
    if (r == 0) {
        (void)snprintf(job->info.name, sizeof(job->info.name), "%s", name);
        (void)snprintf(job->info.source, sizeof(job->info.source), "%s",
                       origin ? origin : source);
        r = template_storage_choose(job->daemon, call_text(call, "storage"), &job->storage,
                                    err);
    }
    if (r == 0)
        r = named_lock(job->daemon, "create", job->info.name, &job->lock, err);
    if (r == 0 && template_find(job->daemon, name, &existing, &info, NULL) == 0)
        r = fail(
            err, ERROR_EXISTS, EEXIST,
            "template \"%s\" exists; change it with `isolate template update %s`, or remove "
            "it first",
            name, name);
    if (r == 0)
        r = start_import(job, source, call->fds->n > 0 ? call->fds->fds[0] : -EBADF, err);
    if (r < 0)
        job_free(job);
    return r;
}

static void on_hashed(void *data, int result, const char *output, struct error *err)
{
    struct image_job *job = data;
    char hash[72] = "";
    (void)snprintf(hash, sizeof(hash), "%.64s", output);
    if (result < 0)
        session_fail(job_session(job), err);
    else
        session_reply(job_session(job),
                      json_pack("{s:s, s:s}", "template", job->info.name, "hash", hash), false);
    job_free(job);
}

int method_template_hash(struct call *call, struct error *err)
{
    struct image_job *job = job_new(call);
    const char *name = NULL;
    _cleanup_close_ int mount = -EBADF;
    if (!job)
        return fail(err, ERROR_SYSTEM, ENOMEM, "template hash: ");
    int r = call_need_text(call, "name", &name, err);
    if (r == 0)
        r = template_find(job->daemon, name, &job->storage, &job->info, err);
    if (r == 0)
        r = job->storage.driver->mount_generation(&job->storage, name,
                                                  call_text(call, "generation"), &mount, err);
    if (r == 0) {
        struct worker_request request = {
            .argv = {"hash", "@0"},
            .fds = {mount, -EBADF},
            .stderr_fd = call->fds->n > 0 ? call->fds->fds[0] : -EBADF,
            .session = job->asked_by,
            .done = on_hashed,
            .data = job,
        };
        r = worker_start(job->daemon, &request, err);
    }
    if (r < 0)
        job_free(job);
    return r;
}
