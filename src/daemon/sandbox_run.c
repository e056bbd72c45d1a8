/* SPDX-License-Identifier: Apache-2.0 */
/* How a sandbox comes to be here: by the method Run, as a parked one or one that is built for
 * it, or taken over from an isolated before this one. Runs in isolated as root; the request is
 * the caller's. */
#include "daemon/sandbox.h"
#include "daemon/stock.h"

#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/devices.h"
#include "daemon/foreign.h"
#include "daemon/journal.h"
#include "daemon/limits.h"
#include "daemon/network.h"
#include "daemon/park.h"
#include "daemon/policy.h"
#include "daemon/pool.h"
#include "daemon/rlimits.h"
#include "daemon/usage.h"
#include "paths.h"
#include "spec/defaults.h"
#include "sys/process.h"

static int check_client(const struct run_request *request, struct error *err)
{
    if (request->sandbox || (request->stdin_open && !request->detach))
        return fail(err, ERROR_INVALID, EINVAL, "request: %s is not for Run",
                    request->sandbox ? "sandbox" : "stdin_open without detach");
    if (!request->client || !streq(request->client, ISOLATE_VERSION))
        return fail(err, ERROR_PROTOCOL, EPROTO,
                    "this client has version %.20s, but the installed isolated has %s; install "
                    "both from one build",
                    request->client ? request->client : "unknown", ISOLATE_VERSION);
    return 0;
}

int sandbox_admit(struct sandbox *sandbox, const struct call *call, const json_t *parameters,
                  bool runs, struct error *err)
{
    struct run_request *request = &sandbox->request;
    struct body *body = &sandbox->body;
    _cleanup_policy_rights_ struct policy_rights rights = {0};
    sandbox->plan = calloc(1, sizeof(*sandbox->plan));
    if (!sandbox->plan)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    int r = runs ? run_request_decode(parameters, sandbox->fds.n, request, err)
                 : run_request_decode_asked(parameters, sandbox->fds.n, request, err);
    request->length = call->length;
    if (r == 0)
        r = check_client(request, err);
    if (r == 0)
        r = policy_admit(sandbox, call->peer, &rights, err);
    if (r == 0)
        r = daemon_follow_cgroup(body->daemon, err);
    if (r == 0)
        r = policy_require_limits(sandbox, runs, err);
    if (r == 0)
        r = limits_require(body->daemon->cgroup_fd, &request->limits, runs, err);
    if (r == 0 && request->usage && runs)
        usage_want(body->daemon->cgroup_fd);
    if (r == 0)
        r = rlimits_check(body->daemon, call->peer, &request->ulimits, err);
    if (r == 0)
        r = network_require(&request->network, err);
    if (r == 0)
        r = devices_allow(&rights, call->peer, request, &sandbox->fds, err);
    if (r == 0)
        r = run_owner(request, call->peer, &sandbox->owner, sandbox->plan->owner_name,
                      sizeof(sandbox->plan->owner_name), err);
    return r;
}

void sandbox_take_name(struct sandbox *sandbox)
{
    struct record *record = &sandbox->body.record;
    const char *name = sandbox->request.name;
    (void)snprintf(record->name, sizeof(record->name), "%s", name ? name : "");
}

static int prepare(struct sandbox *sandbox, struct call *call, struct error *err)
{
    struct run_request *request = &sandbox->request;
    struct body *body = &sandbox->body;
    int r = sandbox_admit(sandbox, call, call->parameters, true, err);
    if (r < 0)
        return r;
    json_t *shown = run_display_without_secrets(call->parameters);
    if (!shown)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    sandbox->built = pool_claim(body->daemon, request, call->peer->uid, body);
    body->record.request = shown;
    body->record.owner_uid = call->peer->uid;
    body->owner_gid = call->peer->gid;
    if (!sandbox->built) {
        r = sandbox_identify(sandbox, err);
        if (r == 0)
            r = defaults_apply(body->record.defaults, request, err);
        if (r == 0)
            pool_take_fresh(body->daemon, request, body);
        if (r == 0 && !body->cloned && !body->restarted && !body->kept &&
            request->first_id == 0)
            (void)stock_take(body->daemon, body);
        return r;
    }
    sandbox_take_name(sandbox);
    body->record.created_us = time_wall_us(); /* for its owner that is now */
    return defaults_apply(body->record.defaults, request, err);
}

/* A parked one: all that is left is to bind what comes late. */
static void take_parked(struct sandbox *sandbox)
{
    struct error err = {0};
    struct run_request *request = &sandbox->request;
    int r = sandbox->body.rootless ? body_enter(&sandbox->body, request->root,
                                                sandbox->fds.fds[request->root_fd], &err)
                                   : 0;
    /* init begins while we watch */
    if (r == 0)
        r = sandbox_on_ready(sandbox, &err);
    if (r == 0) {
        r = sandbox_watch(sandbox, &err);
        /* it may run already, and nobody would hear of its end */
        if (r < 0 && sandbox->state >= SANDBOX_STARTING)
            err.code = ERROR_LOST;
    }
    if (r < 0)
        sandbox_end_failed(sandbox, &err);
}

static void on_viewed(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    sandbox->built = true;
    if (policy_say_disk(sandbox, result, err) < 0)
        sandbox_end_failed(sandbox, err);
    else if (sandbox->ending)
        sandbox_end(sandbox);
    else
        sandbox_hold(sandbox);
}

static void on_built(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    sandbox->built = true;
    int r = policy_say_disk(sandbox, result, err);
    if (r == 0)
        r = sandbox_watch(sandbox, err);
    if (r < 0)
        sandbox_end_failed(sandbox, err);
    else if (sandbox->ending)
        sandbox_end(sandbox);
}

void sandbox_build(struct sandbox *sandbox)
{
    const struct run_request *request = &sandbox->request;
    bool one_off = !request->template_name && !request->kept;
    const struct build_order order = {
        .body = &sandbox->body,
        .one_off_root = one_off ? sandbox->fds.fds[request->root_fd] : sandbox->root_fd,
    };
    if (request->pre_hook && !sandbox->let_go)
        builder_view(&order, on_viewed, sandbox);
    else
        builder_build(&order, on_built, sandbox);
}

int sandbox_run(struct call *call, struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    struct sandbox *sandbox = sandbox_new(daemon);
    if (!sandbox)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    sandbox->fds = *call->fds;
    call->fds->n = 0;
    int r = prepare(sandbox, call, err);
    if (r < 0 && !sandbox->built) {
        foreign_close(call->peer->uid, &sandbox->fds); /* it may have no owner yet */
        sandbox_free(sandbox);
        return r;
    }
    sandbox_give_session(sandbox, call->session);
    if (r < 0) /* there is something to be taken away */
        sandbox_end_failed(sandbox, err);
    else if (sandbox->built)
        take_parked(sandbox);
    else
        sandbox_build(sandbox);
    return 0;
}

int sandbox_adopt(struct body *body, struct error *err)
{
    struct sandbox *sandbox = sandbox_new(body->daemon);
    if (!sandbox)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    body_move(&sandbox->body, body);
    sandbox->built = sandbox->orphan = true;
    sandbox->state = SANDBOX_RUNNING;
    /* without it, it can be watched and killed, and nothing else */
    sandbox->body.instance.park_fd =
        park_connect(sandbox->body.daemon, sandbox->body.record.id);
    sandbox->request.detach =
        json_is_true(json_object_get(sandbox->body.record.request, "detach"));
    uint64_t wall = time_wall_us();
    uint64_t started = sandbox->body.record.started_us;
    sandbox->started_at_us = started && started < wall ? started : wall;
    const struct record_clocks *clocks = &sandbox->body.record.clocks;
    sandbox->started_us = clocks->started_us ? clocks->started_us
                                             : time_now_us() - (wall - sandbox->started_at_us);
    sandbox->request.timeout_ms = clocks->timeout_ms;
    sandbox->request.cpu_time_ms = clocks->cpu_time_ms;
    sandbox->request.length = clocks->request_length;
    int r = sandbox_watch(sandbox, err);
    if (r == 0)
        r = sandbox_watch_clocks(sandbox, true, err);
    if (r < 0) {
        body_move(body, &sandbox->body);
        sandbox_free(sandbox);
        return r;
    }
    journal_sandbox(sandbox, "taken over");
    return 0;
}
