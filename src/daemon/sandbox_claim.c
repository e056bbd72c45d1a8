/* SPDX-License-Identifier: Apache-2.0 */
/* The claim of a sandbox: its init is parked, and is sent what the request brings: user,
 * command, binds, control socket or log. Runs in isolated as root; the request is the caller's,
 * and who -u is comes from init, of which only two numbers in range are believed. */
#include "daemon/sandbox.h"

#include "base/text.h"
#include "daemon/cpu_time.h"
#include "daemon/foreign.h"
#include "daemon/limits.h"
#include "daemon/network.h"
#include "daemon/rlimits.h"
#include "sys/caps.h"
#include "sys/filter.h"
#include "sys/process.h"
#include "sys/userns.h"

int sandbox_user(const struct sandbox *sandbox, uint32_t *ret_uid, uint32_t *ret_gid,
                 struct error *err)
{
    *ret_uid = *ret_gid = 0;
    if (sandbox->request.user)
        return 1;
    if (!sandbox->request.here)
        return 0;
    *ret_uid = sandbox->owner.uid;
    *ret_gid = sandbox->owner.gid;
    if (*ret_uid >= USERNS_RANGE || *ret_gid >= USERNS_RANGE)
        return fail(err, ERROR_INVALID, ERANGE,
                    "--here: your ids %u:%u do not fit into the sandbox's 0 to 65535; give "
                    "-u UID:GID",
                    *ret_uid, *ret_gid);
    return 0;
}

static int ask_init(const struct sandbox *sandbox, struct error *err)
{
    struct message message = {.type = MESSAGE_LOOKUP};
    (void)snprintf(message.text, sizeof(message.text), "%s", sandbox->request.user);
    int r = message_send(sandbox->body.instance.park_fd, &message, NULL, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "ask init for the user: ") : 0;
}

/* Whether its init has been prepared for what is asked for now; files that it has written are
 * not written again. */
static bool use_prepared(struct sandbox *sandbox)
{
    struct run_plan *plan = sandbox->plan;
    const json_t *prepared = sandbox->body.prepared;
    if (!prepared || (plan->start.capabilities & ~caps_default()))
        return false;
    if (json_equal(prepared, plan->provided))
        plan->start.n_files = 0;
    return true;
}

int sandbox_plan(struct sandbox *sandbox, uint32_t uid, uint32_t gid, struct engine_claim *ret,
                 struct error *err)
{
    struct run_plan *plan = sandbox->plan;
    const struct record *record = &sandbox->body.record;
    const char *hostname = *record->name            ? record->name
                           : *record->template_name ? record->template_name
                                                    : "isolate";
    int r = run_plan_make(&sandbox->request, hostname, uid, gid, plan, err);
    rlimits_plan(sandbox->body.daemon, &sandbox->request.ulimits, &plan->start.ulimits);
    bool prepared = use_prepared(sandbox);
    if (r == 0 && record->root)
        r = run_plan_mask_state(plan, record->root, sandbox->body.daemon->state_fd, err);
    if (r == 0)
        r = run_plan_binds(plan, &sandbox->request, &sandbox->owner, record->first_id,
                           &sandbox->fds, err);
    /* a user namespace has the right to give files capabilities, which root's own would keep */
    if (r == 0 && !filter_has_set(plan->filter_flags))
        r = fail(
            err, ERROR_DENIED, EPERM,
            "--seccomp nested: not with files of root bound for writing, which could be given "
            "capabilities; bind them read-only (:ro), or run with --owner USER");
    *ret = (struct engine_claim){
        .start = &plan->start,
        .filter_flags = plan->filter_flags,
        .profile = sandbox->request.seccomp.program,
        .profile_length = sandbox->request.seccomp.length,
        .argument = engine_argument(sandbox->request.engine),
        .control_fd = -EBADF,
        .cpu_stat_fd = -EBADF,
        .mounts = plan->mounts.fds,
        .prepared = prepared,
    };
    return r;
}

static int claim(struct sandbox *sandbox, uint32_t uid, uint32_t gid, struct error *err)
{
    struct engine_claim engine_claim;
    int r = sandbox_plan(sandbox, uid, gid, &engine_claim, err);
    if (r == 0)
        r = limits_apply(sandbox->body.cgroup_fd, &sandbox->request.limits, err);
    if (r == 0)
        r = rlimits_raise(sandbox->body.instance.pid, sandbox->body.record.first_id,
                          &engine_claim.start->ulimits, err);
    engine_claim.prepared = engine_claim.prepared && r == 0;
    if (r < 0)
        return r;
    sandbox->started_us = time_now_us();
    sandbox->started_at_us = sandbox->body.record.started_us = time_wall_us();
    (void)snprintf(sandbox->body.record.state, sizeof(sandbox->body.record.state), "running");
    sandbox->body.record.clocks = (struct record_clocks){
        .started_us = sandbox->started_us,
        .timeout_ms = sandbox->request.timeout_ms,
        .cpu_time_ms = sandbox->request.cpu_time_ms,
        .request_length = sandbox->request.length,
    };
    json_decref(sandbox->body.record.provided); /* of the start before this one */
    sandbox->body.record.provided = json_incref(sandbox->plan->provided);
    r = body_publish(&sandbox->body, err);
    if (r < 0)
        return r;
    _cleanup_close_ int cpu_stat = -EBADF;
    r = cpu_time_open(sandbox, &cpu_stat, err);
    if (r < 0)
        return r;
    engine_claim.cpu_stat_fd = cpu_stat;
    _cleanup_close_ int log = -EBADF;
    if (sandbox->request.detach) {
        log = log_make(sandbox->body.daemon, sandbox->body.record.id, err);
        if (log < 0)
            return log;
        engine_claim.control_fd = log;
    } else {
        engine_claim.control_fd = sandbox->fds.fds[sandbox->request.control];
    }
    sandbox->state = SANDBOX_STARTING;
    r = engine_start(sandbox->body.engine, &sandbox->body.instance, &engine_claim, err);
    /* the caller's fds and the mounts of its directories are init's now. The decoder has closed
     * its copies already where there was a reply before */
    if (sandbox->let_go || r < 0)
        foreign_close(sandbox->body.record.owner_uid, &sandbox->fds);
    else
        fd_list_clear(&sandbox->fds);
    sandbox_drop_plan(sandbox);
    if (r < 0)
        return r;
    r = sandbox_watch_start(sandbox, err);
    if (r < 0) /* it may run already */
        err->code = ERROR_LOST;
    return r;
}

int sandbox_on_network(struct sandbox *sandbox, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = sandbox_user(sandbox, &uid, &gid, err);
    if (r == 0)
        return claim(sandbox, uid, gid, err);
    if (r > 0)
        r = ask_init(sandbox, err);
    if (r == 0)
        sandbox->state = SANDBOX_LOOKUP;
    return r;
}

int sandbox_on_ready(struct sandbox *sandbox, struct error *err)
{
    if (!network_is_made(&sandbox->request.network))
        return sandbox_on_network(sandbox, err);
    sandbox->state = SANDBOX_NETWORK;
    return network_start(sandbox, err);
}

int sandbox_on_user(struct sandbox *sandbox, const struct message *message, struct error *err)
{
    uint32_t uid = (uint32_t)message->value;
    uint32_t gid = (uint32_t)message->detail;
    if (uid >= USERNS_RANGE || gid >= USERNS_RANGE)
        return fail(err, ERROR_PROTOCOL, ERANGE, "init named a user out of range");
    return claim(sandbox, uid, gid, err);
}
