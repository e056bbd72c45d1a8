/* SPDX-License-Identifier: Apache-2.0 */
/* What starts have of the pool: a parked sandbox or a fresh clone, and which kinds of starts
 * have that. Runs in isolated as root; the request is the caller's. */
#include "daemon/pool.h"

#include "base/text.h"
#include "daemon/pool_shape.h"
#include "daemon/sandbox.h"
#include "sys/process.h"

#define OTHERS_US 10000000ULL /* so long somebody else counts as one who asks */

/* A directory that the caller names, which changes: all but that can be had ahead of time. */
static bool takes_root_late(const struct run_request *request, const struct engine *engine)
{
    struct error unknown;
    const struct storage_driver *driver = NULL;
    return request->root && request->storage && engine->enter &&
           storage_driver_find(request->storage, &driver, &unknown) == 0 &&
           streq(request->storage, driver->name) && (driver->capabilities & STORAGE_LATE_ROOTS);
}

/* What can be had ahead of time: the current generation. */
static bool has_shape(const struct run_request *request, const struct engine *engine)
{
    return (request->template_name || takes_root_late(request, engine)) &&
           !request->generation && !request->keep && !request->hold && request->first_id == 0 &&
           (engine->capabilities & ENGINE_PARKS);
}

static const char *shape_name(const struct run_request *request)
{
    return request->template_name ? request->template_name : "";
}

/* A storage that is named must be the template's. */
static struct shape *find_shape(const struct daemon *daemon, const struct run_request *request,
                                const struct engine *engine)
{
    struct shape *shape =
        pool_shape_find(daemon, shape_name(request), request->host_network, engine);
    return shape && (!request->storage || streq(request->storage, shape->storage)) ? shape
                                                                                   : NULL;
}

/* What the engine cannot do is refused by who builds. A limit of disk space is set between
 * cloning and mounting, which may take the file system its time, and hooks are shown the clone
 * before it is built: such a sandbox is built for its caller. */
static bool is_poolable(const struct run_request *request, const struct engine *engine)
{
    struct error refused;
    return has_shape(request, engine) && request->limits.disk_bytes == 0 &&
           !request->pre_hook && !request->post_hook &&
           sandbox_check_engine(engine, request, &refused) == 0;
}

void pool_note(struct daemon *daemon, const struct run_request *request,
               const struct body *body)
{
    const struct config *config = &daemon->config;
    /* on a template's directory itself only who names that storage runs, and only root may */
    if (request->template_name && !(body->storage.driver->capabilities & STORAGE_DISPOSABLE))
        return;
    if (!daemon->builder || config->pool_parked + config->pool_fresh == 0 ||
        !is_poolable(request, body->engine))
        return;
    struct shape *shape =
        pool_shape_find(daemon, shape_name(request), request->host_network, body->engine);
    if (!shape)
        shape = pool_shape_add(daemon, shape_name(request), body->record.storage,
                               request->host_network, body->engine);
    if (!shape)
        return;
    shape->used_us = time_now_us();
    shape->gone = false;
    /* low: at once, and in quiet else */
    bool low = shape->n_ready + shape->n_building <= pool_shape_wanted(shape) / 4;
    if (low)
        pool_shape_refill(shape);
    else
        pool_shape_refill_in(shape, QUIET_US);
}

void pool_note_failed(struct daemon *daemon, const struct run_request *request,
                      const struct body *body)
{
    struct shape *shape =
        pool_shape_find(daemon, shape_name(request), request->host_network, body->engine);
    if (shape && body->engine)
        pool_shape_refill_in(shape, QUIET_US);
}

/* The last ones ready are left to others, where there are others who ask. */
static bool takes_too_much(struct shape *shape, uid_t uid)
{
    uint64_t now = time_now_us();
    if (uid != shape->last_uid) {
        shape->other_us = shape->in_a_row > 0 ? now : 0;
        shape->last_uid = uid;
        shape->in_a_row = 0;
    }
    shape->in_a_row++;
    return shape->other_us != 0 && now - shape->other_us < OTHERS_US &&
           shape->in_a_row > pool_shape_wanted(shape) / 2 + 1 &&
           shape->n_ready <= pool_shape_wanted(shape) / 4;
}

static struct member *first_ready(const struct shape *shape)
{
    struct member *member = shape ? shape->members : NULL;
    while (member && !member->ready)
        member = member->next;
    return member;
}

/* The shape that such a request may claim of, or NULL. */
static struct shape *shape_for(const struct daemon *daemon, const struct run_request *request)
{
    struct error unknown;
    const struct engine *engine = NULL;
    if (!daemon->shapes || engine_find(request->engine, &engine, &unknown) < 0 ||
        !is_poolable(request, engine))
        return NULL;
    return find_shape(daemon, request, engine);
}

const struct body *pool_would_claim(const struct daemon *daemon,
                                    const struct run_request *request, uid_t uid)
{
    const struct shape *shape = pool_is_stale(daemon) ? NULL : shape_for(daemon, request);
    const struct member *member = first_ready(shape);
    if (!shape || !member)
        return NULL;
    struct shape asked = *shape; /* who only asks does not count */
    return takes_too_much(&asked, uid) ? NULL : &member->body;
}

bool pool_claim(struct daemon *daemon, const struct run_request *request, uid_t uid,
                struct body *ret)
{
    if (!shape_for(daemon, request))
        return false;
    pool_look(daemon);
    struct shape *shape = shape_for(daemon, request);
    struct member *member = first_ready(shape);
    if (member && takes_too_much(shape, uid))
        return false;
    if (shape && !member && shape->blocked_until_us < time_now_us()) {
        shape->misses++;
        if (shape->wanted < daemon->config.pool_parked || shape->wanted == 0)
            shape->wanted = shape->wanted * 2 < 4 ? 4 : shape->wanted * 2;
    }
    if (!member)
        return false;
    shape->claims++;
    pool_shape_unlink(shape, member);
    if (shape->n_ready < shape->least_ready)
        shape->least_ready = shape->n_ready;
    body_clear(ret);
    body_move(ret, &member->body);
    free(member);
    return true;
}

static struct shape *shape_of_fresh(const struct daemon *daemon,
                                    const struct run_request *request, const struct body *body)
{
    return request->template_name && has_shape(request, body->engine)
               ? find_shape(daemon, request, body->engine)
               : NULL;
}

void pool_take_fresh(struct daemon *daemon, const struct run_request *request,
                     struct body *body)
{
    struct shape *shape = shape_of_fresh(daemon, request, body);
    if (shape)
        fresh_take(shape, body);
}

bool pool_has_fresh(const struct daemon *daemon, const struct run_request *request,
                    const struct body *body)
{
    const struct shape *shape = shape_of_fresh(daemon, request, body);
    return shape && !pool_is_stale(daemon) && fresh_has(shape, body);
}

bool pool_adopt_fresh(struct daemon *daemon, struct body *body)
{
    struct shape *shape = daemon->shapes;
    while (shape && (!streq(shape->template_name, body->record.template_name) ||
                     !streq(shape->storage, body->record.storage)))
        shape = shape->next;
    return shape && fresh_adopt(shape, body);
}
