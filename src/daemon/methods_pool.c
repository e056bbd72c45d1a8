/* SPDX-License-Identifier: Apache-2.0 */
/* The methods on the pool. Run in isolated as root; callers see it, root changes it. */
#include "base/text.h"
#include "daemon/methods.h"
#include "daemon/pool.h"
#include "daemon/pool_shape.h"
#include "daemon/templates.h"

static json_t *shape_to_json(const struct shape *shape)
{
    return json_pack("{s:s, s:s, s:s, s:s, s:i, s:i, s:i, s:i, s:b, s:I, s:I, s:s}", "template",
                     shape->template_name, "storage", shape->storage, "network",
                     shape->host_network ? "host" : "none", "engine", shape->engine->name,
                     "ready", (int)shape->n_ready, "building", (int)shape->n_building, "fresh",
                     (int)shape->n_fresh, "wanted", (int)pool_shape_wanted(shape), "fixed",
                     (int)(shape->fixed >= 0), "claims", (json_int_t)shape->claims, "misses",
                     (json_int_t)shape->misses, "problem", shape->problem);
}

int method_pool_list(struct call *call, struct error *err)
{
    json_t *list = json_array();
    struct daemon *daemon = session_daemon(call->session);
    for (const struct shape *shape = daemon->shapes; shape; shape = shape->next)
        if (!shape->gone)
            (void)json_array_append_new(list, shape_to_json(shape));
    return call_done(call, json_pack("{s:o}", "shapes", list), err);
}

/* Calls change for the shapes of the template that the call names, or for all; how many. */
static int each(struct call *call, void (*change)(struct shape *shape, int value), int value,
                struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = call_text(call, "template");
    int n = 0;
    for (struct shape *shape = daemon->shapes; shape; shape = shape->next)
        if (!name || streq(shape->template_name, name)) {
            change(shape, value);
            n++;
        }
    if (n == 0 && name)
        return fail(err, ERROR_NOT_FOUND, ENOENT,
                    "pool: nothing is kept ready of template \"%.80s\"; see `isolate pool`",
                    name);
    return n;
}

int method_pool_set(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = NULL;
    const json_t *wanted = json_object_get(call->parameters, "wanted");
    _cleanup_storage_ struct storage storage = {0};
    struct template_info info;
    int r = call_need_text(call, "template", &name, err);
    if (r == 0 && !daemon->builder)
        r = fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "pool: only the resident daemon has one");
    if (r == 0)
        r = template_find(daemon, name, &storage, &info, err);
    if (r < 0)
        return r;
    struct error none = {0};
    int value = wanted ? (int)json_integer_value(wanted) : -1;
    if (value > (int)daemon->config.pool_parked)
        return fail(err, ERROR_INVALID, ERANGE, "pool: at most %u (Parked=)",
                    daemon->config.pool_parked);
    if (each(call, pool_shape_set, value, &none) < 0) {
        struct shape *shape = pool_shape_add(daemon, name, storage.name, false, engine_at(0));
        if (!shape)
            return fail(err, ERROR_BUSY, ENOSPC, "pool: too many templates are kept ready");
        pool_shape_set(shape, value);
    }
    return call_done(call, json_pack("{s:s}", "template", name), err);
}

static void refresh(struct shape *shape, int value)
{
    pool_shape_drop_members(shape);
}

int method_pool_refresh(struct call *call, struct error *err)
{
    int n = each(call, refresh, 0, err);
    return n < 0 ? n : call_done(call, json_pack("{s:i}", "shapes", n), err);
}

static void drain(struct shape *shape, int value)
{
    pool_shape_set(shape, 0);
    pool_shape_drop_members(shape);
}

int method_pool_drain(struct call *call, struct error *err)
{
    int n = each(call, drain, 0, err);
    return n < 0 ? n : call_done(call, json_pack("{s:i}", "shapes", n), err);
}
