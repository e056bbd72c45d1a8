/* SPDX-License-Identifier: Apache-2.0 */
/* The method Explain: a run is admitted, its sandbox looked for and its start planned by the
 * code that runs it, and then told instead of started. What would be refused is refused, with
 * the same words. Runs in isolated as root, in a fork where there is a resident: parked
 * sandboxes are that one's, and only looked at. The request is the caller's. */
#include "daemon/explain.h"
#include "daemon/methods.h"

#include "base/text.h"
#include "daemon/pool.h"
#include "daemon/stock.h"
#include "spec/defaults.h"

#include <string.h>

/* The generation that it would be a clone of. */
static int find_generation(struct body *body, struct error *err)
{
    struct record *record = &body->record;
    struct storage *storage = &body->storage;
    _cleanup_generations_ struct generation_list list = {0};
    if (record->root || body->restarted || !*record->template_name)
        return 0;
    int r = storage->driver->generations(storage, record->template_name, &list, err);
    if (r < 0)
        return r;
    for (size_t i = 0; i < list.n; i++) {
        const struct generation *item = &list.items[i];
        if (*record->generation ? !streq(item->id, record->generation) : !item->current)
            continue;
        memcpy(record->generation, item->id, sizeof(item->id));
        return 0;
    }
    return generation_unknown(record->template_name,
                              *record->generation ? record->generation : "(current)", err);
}

/* What it would take of the pool: all that is asked of it is in its record. */
static int look_at_parked(struct sandbox *sandbox, const struct body *parked,
                          struct explained *ret, struct error *err)
{
    struct body *body = &sandbox->body;
    struct record *record = &body->record;
    body->engine = parked->engine;
    body->host_network = parked->host_network;
    body->prepared = json_incref(parked->prepared);
    record->defaults = json_incref(parked->record.defaults);
    record->first_id = parked->record.first_id;
    memcpy(record->template_name, parked->record.template_name, sizeof(record->template_name));
    memcpy(record->generation, parked->record.generation, sizeof(record->generation));
    memcpy(record->storage, parked->record.storage, sizeof(record->storage));
    const char *root = parked->rootless ? sandbox->request.root : parked->record.root;
    record->root = root ? strdup(root) : NULL;
    sandbox_take_name(sandbox);
    ret->clone = parked->rootless ? EXPLAIN_NONE : EXPLAIN_PARKED;
    ret->shares_ids = parked->record.shares_ids;
    return root && !record->root ? fail(err, ERROR_SYSTEM, ENOMEM, "explain: ") : 0;
}

/* Before anything is made for it, its record says which ids it would have: until then the first
 * of all are as good, to look at binds with. */
static int look_for_ids(struct body *body, struct explained *ret, struct error *err)
{
    uint32_t first_id = 0;
    int r = body_shares_ids(body, &first_id, err);
    ret->shares_ids = r > 0;
    if (r == 0 && body->record.first_id != 0 && !body->restarted)
        return ids_check_choice(body->daemon, body->record.first_id, err);
    body->record.first_id = first_id ? first_id : body->daemon->config.first_id;
    return r < 0 ? r : 0;
}

static int look_for_new(struct sandbox *sandbox, struct explained *ret, struct error *err)
{
    struct body *body = &sandbox->body;
    struct daemon *daemon = body->daemon;
    int r = sandbox_identify(sandbox, err);
    if (r == 0)
        r = look_for_ids(body, ret, err);
    if (r == 0)
        r = body_check_name(body, err);
    if (r < 0)
        return r;
    bool stocked = !body->restarted && !body->kept;
    ret->clone = body->restarted                                              ? EXPLAIN_KEPT
                 : !(body->storage.driver->capabilities & STORAGE_DISPOSABLE) ? EXPLAIN_NONE
                 : pool_has_fresh(daemon, &sandbox->request, body) ||
                         (stocked && stock_would_serve(daemon, body))
                     ? EXPLAIN_FRESH
                     : EXPLAIN_NEW;
    return find_generation(body, err);
}

static int look_for(struct sandbox *sandbox, const struct call *call, struct explained *ret,
                    struct error *err)
{
    struct body *body = &sandbox->body;
    const struct body *parked =
        pool_would_claim(body->daemon, &sandbox->request, call->peer->uid);
    body->record.owner_uid = call->peer->uid;
    if (!parked)
        return look_for_new(sandbox, ret, err);
    int r = look_at_parked(sandbox, parked, ret, err);
    return r < 0 ? r : body_check_name(body, err);
}

/* Whether init could be told that. */
static int check_size(const struct engine_told *told, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    return start_encode(&told->start, &text, err);
}

static int explain(struct sandbox *sandbox, struct call *call, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    struct engine_claim claim;
    _cleanup_engine_told_ struct engine_told told = {.order = NULL};
    struct explained explained = {.sandbox = sandbox, .told = &told};
    const json_t *request = json_object_get(call->parameters, "request");
    if (!json_is_object(request))
        return fail(err, ERROR_INVALID, EINVAL, "%s: \"request\" must be an object",
                    call->method);
    int r = sandbox_admit(sandbox, call, request, false, err);
    if (r == 0 && sandbox->request.hold)
        r = fail(err, ERROR_INVALID, EINVAL, "request: hold is not for Explain");
    if (r == 0)
        r = look_for(sandbox, call, &explained, err);
    if (r == 0)
        r = defaults_apply(sandbox->body.record.defaults, &sandbox->request, err);
    if (r == 0)
        r = sandbox_user(sandbox, &uid, &gid, err);
    explained.asks_user = r > 0;
    if (r >= 0)
        r = sandbox_plan(sandbox, uid, gid, &claim, err);
    if (r == 0)
        r = engine_tell(sandbox->body.engine, &claim, &told, err);
    if (r == 0)
        r = check_size(&told, err);
    if (r < 0)
        return r;
    explained.filter_flags = claim.filter_flags;
    return call_done(call, json_pack("{s:o}", "plan", explained_to_json(&explained)), err);
}

int method_explain(struct call *call, struct error *err)
{
    struct sandbox *sandbox = sandbox_new(session_daemon(call->session));
    if (!sandbox)
        return fail(err, ERROR_SYSTEM, ENOMEM, "explain: ");
    sandbox->fds = *call->fds;
    call->fds->n = 0;
    int r = explain(sandbox, call, err);
    fd_list_clear(&sandbox->fds); /* if one hangs, it is this process's alone */
    sandbox_free(sandbox);
    return r;
}
