/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a sandbox as a state machine on the event loop: built, claimed, started, ended,
 * taken away. Runs in isolated as root, and waits for nobody: bodies are built and taken away
 * by the builder. Each message of init is checked against the state; a sandbox that says
 * anything else, or dies, is destroyed. Only after STARTED can the command have run. */
#include "daemon/sandbox.h"

#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/foreign.h"
#include "daemon/journal.h"
#include "daemon/limits.h"
#include "daemon/park.h"
#include "daemon/policy.h"
#include "daemon/pool.h"
#include "paths.h"
#include "sys/caps.h"
#include "sys/cgroup.h"
#include "sys/process.h"
#include "sys/userns.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

/* Large, and of no use once it has been handed to init. */
static void drop_plan(struct sandbox *sandbox)
{
    if (sandbox->plan)
        run_plan_clear(sandbox->plan);
    free(TAKE_PTR(sandbox->plan));
}

static void sandbox_free(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->body.daemon;
    struct sandbox **at = &daemon->sandboxes;
    while (*at && *at != sandbox)
        at = &(*at)->next;
    if (*at)
        *at = sandbox->next;
    sandbox_forget_callers(sandbox);
    named_unlock(&sandbox->update);
    body_clear(&sandbox->body);
    fd_list_clear(&sandbox->fds);
    sandbox->root_fd = fd_close(sandbox->root_fd);
    drop_plan(sandbox);
    run_request_clear(&sandbox->request);
    json_decref(sandbox->reply);
    free(sandbox);
    daemon_maybe_exit(daemon);
}

static void on_destroyed(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    struct session *session = TAKE_PTR(sandbox->session);
    struct error failure = sandbox->failure;
    json_t *reply = TAKE_PTR(sandbox->reply);
    /* its names and its id are free before its caller knows */
    sandbox_free(sandbox);
    if (failure.code != ERROR_NONE)
        session_fail(session, &failure);
    else if (reply)
        session_reply(session, reply, false);
}

static void close_sources(struct sandbox *sandbox)
{
    sandbox->park_io = sd_event_source_unref(sandbox->park_io);
    sandbox->pid_io = sd_event_source_unref(sandbox->pid_io);
    sandbox->timer = sd_event_source_unref(sandbox->timer);
    foreign_close(&sandbox->fds);
    if (sandbox->plan)
        fd_list_clear(&sandbox->plan->mounts);
}

void sandbox_release(struct sandbox *sandbox)
{
    close_sources(sandbox);
    named_unlock(&sandbox->update);
    body_end(&sandbox->body);
    sandbox->state = SANDBOX_DESTROYING;
    builder_destroy(&sandbox->body, on_destroyed, sandbox);
}

static json_t *usage_to_json(const struct sandbox *sandbox)
{
    const struct rusage *usage = &sandbox->body.usage;
    return json_pack("{s:I, s:I, s:I, s:I}", "user_us",
                     (json_int_t)usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec,
                     "system_us",
                     (json_int_t)usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec,
                     "max_rss_bytes", (json_int_t)usage->ru_maxrss * 1024, "wall_us",
                     (json_int_t)(sandbox->ended_us - sandbox->started_us));
}

static json_t *identity_to_json(const struct sandbox *sandbox, const char *state)
{
    const struct record *record = &sandbox->body.record;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "state", state, "id", record->id,
                     "name", record->name, "template",
                     *record->template_name ? record->template_name
                     : record->root         ? record->root
                                            : "",
                     "generation", record->generation, "engine", record->engine, "storage",
                     record->storage);
}

static json_t *ended_to_json(const struct sandbox *sandbox)
{
    json_t *reply = identity_to_json(sandbox, "ended");
    if (!reply)
        return NULL;
    (void)json_object_set_new(reply, "usage", usage_to_json(sandbox));
    (void)json_object_set_new(reply, "exit", sandbox_exit_to_json(sandbox));
    (void)json_object_set_new(reply, "kept", json_boolean(sandbox->body.kept));
    (void)json_object_set_new(reply, "started_us",
                              json_integer((json_int_t)sandbox->started_at_us));
    (void)json_object_set_new(reply, "ended_us", json_integer((json_int_t)time_wall_us()));
    return reply;
}

/* Who is told that it has ended may use its name again at once. */
static void free_name(struct body *body)
{
    struct error err = {0};
    if (!*body->record.name || body->kept || body->lock_fd < 0)
        return;
    body->record.name[0] = '\0';
    (void)snprintf(body->record.state, sizeof(body->record.state), "destroying");
    _cleanup_close_ int records = records_running(body->daemon, &err);
    if (records < 0 || record_write(records, &body->record, &body->lock_fd, &err) < 0)
        log_warning("%s", err.text);
}

/* All processes are dead: tell the caller, then deal with the clone. */
static void finish(struct sandbox *sandbox)
{
    struct body *body = &sandbox->body;
    sandbox->ended_us = time_now_us();
    close_sources(sandbox);
    body_end(body);
    if (sandbox->failure.code != ERROR_NONE) {
        sandbox_tell_end(sandbox, NULL);
        if (sandbox->state >= SANDBOX_RUNNING)
            journal_sandbox(sandbox, "ended");
        /* where the command may have run, its clone is what was asked to be kept */
        if (sandbox->state < SANDBOX_STARTING || sandbox->failure.code != ERROR_LOST)
            body->kept = body->restarted || (body->kept && sandbox->state >= SANDBOX_RUNNING);
        sandbox_release(sandbox);
        return;
    }
    if (!sandbox->session && sandbox->state < SANDBOX_RUNNING)
        body->kept = body->restarted;
    json_t *reply = ended_to_json(sandbox);
    sandbox_tell_end(sandbox, reply);
    journal_sandbox(sandbox, "ended");
    bool hold = sandbox->request.hold && sandbox->session && !body->kept;
    sandbox->state = SANDBOX_ENDED;
    if (hold)
        body_settle(body);
    /* who is told that it was kept may use it at once; a clone that goes may go a little later
     */
    if (!hold)
        free_name(body);
    if (body->kept)
        sandbox->reply = reply;
    else
        session_reply(hold ? sandbox->session : TAKE_PTR(sandbox->session), reply, false);
    if (!hold)
        sandbox_release(sandbox);
}

/* Kills it; the rest follows when its process has ended. */
static void end(struct sandbox *sandbox)
{
    sandbox->ending = true;
    if (!sandbox->built)
        return; /* the builder still has it */
    sandbox->park_io = sd_event_source_unref(sandbox->park_io);
    if (sandbox->body.instance.pid <= 0 || !sandbox->pid_io) {
        finish(sandbox);
        return;
    }
    (void)!pidfd_signal(sandbox->body.instance.pidfd, SIGKILL);
    (void)sd_event_source_set_enabled(sandbox->pid_io, SD_EVENT_ON);
}

static void end_failed(struct sandbox *sandbox, const struct error *err)
{
    if (sandbox->failure.code == ERROR_NONE)
        sandbox->failure = *err;
    end(sandbox);
}

/* Asks init who -u is, unless both numbers are given. */
static int resolve_user(struct sandbox *sandbox, bool *ret_asked, uint32_t *uid, uint32_t *gid,
                        struct error *err)
{
    const char *user = sandbox->request.user;
    *ret_asked = false;
    *uid = *gid = 0;
    if (!user) {
        if (!sandbox->request.here)
            return 0;
        *uid = sandbox->owner.uid;
        *gid = sandbox->owner.gid;
        if (*uid >= USERNS_RANGE || *gid >= USERNS_RANGE)
            return fail(err, ERROR_INVALID, ERANGE,
                        "--here: your ids %u:%u do not fit into the sandbox's 0 to 65535; give "
                        "-u UID:GID",
                        *uid, *gid);
        return 0;
    }
    struct message message = {.type = MESSAGE_LOOKUP};
    (void)snprintf(message.text, sizeof(message.text), "%s", user);
    *ret_asked = true;
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

static int claim(struct sandbox *sandbox, uint32_t uid, uint32_t gid, struct error *err)
{
    uint32_t first_id = sandbox->body.record.first_id;
    const struct record *record = &sandbox->body.record;
    const char *hostname = *record->name            ? record->name
                           : *record->template_name ? record->template_name
                                                    : "isolate";
    int r = run_plan_make(&sandbox->request, hostname, uid, gid, sandbox->plan, err);
    bool prepared = use_prepared(sandbox);
    if (r == 0 && sandbox->body.record.root)
        r = run_plan_mask_state(sandbox->plan, sandbox->body.record.root,
                                sandbox->body.daemon->state_fd, err);
    if (r == 0)
        r = run_plan_binds(sandbox->plan, &sandbox->request, &sandbox->owner, first_id,
                           &sandbox->fds, err);
    if (r == 0)
        r = limits_apply(sandbox->body.cgroup_fd, &sandbox->request.limits, err);
    if (r < 0)
        return r;
    (void)snprintf(sandbox->body.record.state, sizeof(sandbox->body.record.state), "running");
    json_decref(sandbox->body.record.provided); /* of the start before this one */
    sandbox->body.record.provided = json_incref(sandbox->plan->provided);
    r = body_publish(&sandbox->body, err);
    if (r < 0)
        return r;
    struct engine_claim engine_claim = {
        .start = &sandbox->plan->start,
        .filter_flags = sandbox->plan->filter_flags,
        .control_fd =
            sandbox->request.detach ? -EBADF : sandbox->fds.fds[sandbox->request.control],
        .mounts = sandbox->plan->mounts.fds,
        .prepared = prepared,
    };
    _cleanup_close_ int log = -EBADF;
    if (sandbox->request.detach) {
        log = log_make(sandbox->body.daemon, sandbox->body.record.id, err);
        if (log < 0)
            return log;
        engine_claim.control_fd = log;
    }
    sandbox->state = SANDBOX_STARTING;
    sandbox->started_us = time_now_us();
    sandbox->started_at_us = time_wall_us();
    r = sandbox->body.engine->claim(&sandbox->body.instance, &engine_claim, err);
    /* the caller's fds and the mounts of its directories are init's now */
    fd_list_clear(&sandbox->fds);
    drop_plan(sandbox);
    return r;
}

static int on_ready(struct sandbox *sandbox, struct error *err)
{
    bool asked = false;
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = resolve_user(sandbox, &asked, &uid, &gid, err);
    if (r == 0 && asked) {
        sandbox->state = SANDBOX_LOOKUP;
        return 0;
    }
    return r < 0 ? r : claim(sandbox, uid, gid, err);
}

static int on_user(struct sandbox *sandbox, const struct message *message, struct error *err)
{
    uint32_t uid = (uint32_t)message->value;
    uint32_t gid = (uint32_t)message->detail;
    if (uid >= USERNS_RANGE || gid >= USERNS_RANGE)
        return fail(err, ERROR_PROTOCOL, ERANGE, "init named a user out of range");
    return claim(sandbox, uid, gid, err);
}

#define TIMEOUT_GRACE_MS 15000 /* init has TERM, 10 seconds and KILL first */

static int on_timeout(sd_event_source *source, uint64_t now_us, void *data)
{
    struct sandbox *sandbox = data;
    log_warning("sandbox %s: its init did not end it in time", sandbox->body.record.id);
    (void)!cgroup_kill(sandbox->body.cgroup_fd);
    return 0;
}

static int watch_clock(struct sandbox *sandbox, struct error *err)
{
    uint64_t timeout_ms = sandbox->request.timeout_ms;
    if (timeout_ms == 0)
        return 0;
    int r = sd_event_add_time_relative(sandbox->body.daemon->event, &sandbox->timer,
                                       CLOCK_MONOTONIC, (timeout_ms + TIMEOUT_GRACE_MS) * 1000,
                                       0, on_timeout, sandbox);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the time: ") : 0;
}

static int on_message(struct sandbox *sandbox, const struct message *message, struct error *err)
{
    if (message->type == MESSAGE_FAILED && sandbox->state < SANDBOX_RUNNING) {
        message_to_error(message, err);
        return -err->errnum;
    }
    if (sandbox->state == SANDBOX_BUILDING && message->type == MESSAGE_READY)
        return on_ready(sandbox, err);
    if (sandbox->state == SANDBOX_LOOKUP && message->type == MESSAGE_USER)
        return on_user(sandbox, message, err);
    if (sandbox->state == SANDBOX_STARTING && message->type == MESSAGE_STARTED) {
        sandbox->state = SANDBOX_RUNNING;
        pool_note(sandbox->body.daemon, &sandbox->request, &sandbox->body);
        journal_sandbox(sandbox, "started");
        /* of a detached one nobody waits any more */
        bool detached = sandbox->request.detach;
        session_reply(detached ? TAKE_PTR(sandbox->session) : sandbox->session,
                      identity_to_json(sandbox, "started"), !detached);
        return watch_clock(sandbox, err);
    }
    if (sandbox->state == SANDBOX_RUNNING && message->serial != 0)
        return sandbox_on_exec(sandbox, message, err);
    if (sandbox->state == SANDBOX_RUNNING && message->type == MESSAGE_EXITED &&
        sandbox->exit_kind == 0 && message->value >= EXIT_KIND_EXITED &&
        message->value <= EXIT_KIND_TIMEOUT) {
        sandbox->exit_kind = message->value;
        sandbox->exit_detail =
            message->detail & (message->value == EXIT_KIND_SIGNALED ? 127 : 255);
        return 0;
    }
    return fail(err, ERROR_PROTOCOL, EPROTO, "init sent a message out of order");
}

static int on_park(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct sandbox *sandbox = data;
    struct message message;
    struct error err = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(fd, &message, MSG_DONTWAIT, &fds);
    /* it died without reading all; what it said before comes after this */
    bool unread = r == -ECONNRESET;
    if (unread)
        r = message_receive(fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return 0;
    if (r == 1)
        r = on_message(sandbox, &message, &err);
    else if (sandbox->state == SANDBOX_RUNNING)
        r = sd_event_source_set_enabled(source,
                                        SD_EVENT_OFF);      /* its end is seen by its pidfd */
    else if (sandbox->state == SANDBOX_STARTING && !unread) /* START is the last it was sent */
        r = fail(&err, ERROR_LOST, ECONNRESET,
                 "the sandbox died while the command started; whether it ran is unknown");
    else
        r = fail(&err, ERROR_SYSTEM, ECONNRESET,
                 "the sandbox died before the command started; nothing ran");
    if (r < 0)
        end_failed(sandbox, &err);
    return 0;
}

static int on_end(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct sandbox *sandbox = data;
    /* what init said before it died comes first */
    if (sandbox->state < SANDBOX_RUNNING && !sandbox->ending) {
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        return 0;
    }
    finish(sandbox);
    return 0;
}

static int watch(struct sandbox *sandbox, struct error *err)
{
    sd_event *event = sandbox->body.daemon->event;
    const struct engine_instance *instance = &sandbox->body.instance;
    int r =
        sd_event_add_io(event, &sandbox->park_io, instance->park_fd, EPOLLIN, on_park, sandbox);
    if (r >= 0)
        r = sd_event_add_io(event, &sandbox->pid_io, instance->pidfd, EPOLLIN, on_end, sandbox);
    if (r >= 0) /* STARTED is read before the end is seen */
        r = sd_event_source_set_priority(sandbox->pid_io, SD_EVENT_PRIORITY_NORMAL + 10);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the sandbox: ") : 0;
}

static void on_built(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    sandbox->built = true;
    int r = result < 0 ? result : watch(sandbox, err);
    if (r < 0)
        end_failed(sandbox, err);
    else if (sandbox->ending)
        end(sandbox);
}

static int check_caller(const struct call *call, const struct run_request *request,
                        struct error *err)
{
    if (request->sandbox || (request->stdin_open && !request->detach))
        return fail(err, ERROR_INVALID, EINVAL, "request: %s is not for Run",
                    request->sandbox ? "sandbox" : "stdin_open without detach");
    if (!request->client || !streq(request->client, ISOLATE_VERSION))
        return fail(err, ERROR_PROTOCOL, EPROTO,
                    "this client has version %.20s, but the installed isolated has %s; install "
                    "both from one build",
                    request->client ? request->client : "unknown", ISOLATE_VERSION);
    return policy_check_run(session_daemon(call->session), call->peer, request, err);
}

static struct sandbox *sandbox_new(struct daemon *daemon)
{
    struct sandbox *sandbox = calloc(1, sizeof(*sandbox));
    if (!sandbox)
        return NULL;
    body_init(&sandbox->body, daemon);
    sandbox->update.fd = sandbox->root_fd = -EBADF;
    sandbox->next = daemon->sandboxes;
    daemon->sandboxes = sandbox;
    return sandbox;
}

int sandbox_adopt(struct body *body, struct error *err)
{
    struct sandbox *sandbox = sandbox_new(body->daemon);
    if (!sandbox)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    body_move(&sandbox->body, body);
    sandbox->built = sandbox->orphan = true;
    sandbox->state = SANDBOX_RUNNING;
    struct engine_instance *instance = &sandbox->body.instance;
    /* without a way to its init it can be watched and killed, and nothing else */
    instance->park_fd = park_connect(sandbox->body.daemon, sandbox->body.record.id);
    sandbox->request.detach =
        json_is_true(json_object_get(sandbox->body.record.request, "detach"));
    sandbox->started_us = time_now_us();
    sandbox->started_at_us = time_wall_us();
    int r = sd_event_add_io(body->daemon->event, &sandbox->pid_io, instance->pidfd, EPOLLIN,
                            on_end, sandbox);
    if (r >= 0) /* what it says of its end comes first */
        r = sd_event_source_set_priority(sandbox->pid_io, SD_EVENT_PRIORITY_NORMAL + 10);
    if (r >= 0 && instance->park_fd >= 0)
        r = sd_event_add_io(body->daemon->event, &sandbox->park_io, instance->park_fd, EPOLLIN,
                            on_park, sandbox);
    if (r >= 0) {
        journal_sandbox(sandbox, "taken over");
        return 0;
    }
    body_move(body, &sandbox->body);
    sandbox_free(sandbox);
    return fail(err, ERROR_SYSTEM, r, "watch the sandbox: ");
}

static int prepare(struct sandbox *sandbox, struct call *call, struct error *err)
{
    struct run_request *request = &sandbox->request;
    struct body *body = &sandbox->body;
    sandbox->plan = calloc(1, sizeof(*sandbox->plan));
    if (!sandbox->plan)
        return fail(err, ERROR_SYSTEM, ENOMEM, "sandbox: ");
    int r = run_request_decode(call->parameters, sandbox->fds.n, request, err);
    request->length = call->length;
    if (r == 0)
        r = check_caller(call, request, err);
    if (r == 0)
        r = daemon_follow_cgroup(body->daemon, err);
    if (r == 0)
        r = limits_require(body->daemon->cgroup_fd, &request->limits, err);
    if (r == 0)
        r = run_owner(request, call->peer, &sandbox->owner, sandbox->plan->owner_name,
                      sizeof(sandbox->plan->owner_name), err);
    if (r < 0)
        return r;
    sandbox->built = pool_claim(body->daemon, request, call->peer->uid, body);
    body->record.request = json_incref(call->parameters);
    body->record.owner_uid = call->peer->uid;
    if (!sandbox->built)
        return sandbox_identify(sandbox, err);
    (void)snprintf(body->record.name, sizeof(body->record.name), "%s",
                   request->name ? request->name : "");
    return 0;
}

/* A parked one: all that is left is to bind what comes late. */
static void take_parked(struct sandbox *sandbox)
{
    struct error err = {0};
    int r = watch(sandbox, &err);
    if (r == 0)
        r = on_ready(sandbox, &err);
    if (r < 0)
        end_failed(sandbox, &err);
}

static void build(struct sandbox *sandbox)
{
    const struct run_request *request = &sandbox->request;
    bool one_off = !request->template_name && !request->kept;
    const struct build_order order = {
        .body = &sandbox->body,
        .one_off_root = one_off ? sandbox->fds.fds[request->root_fd] : sandbox->root_fd,
    };
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
    if (r < 0) {
        sandbox_free(sandbox);
        return r;
    }
    sandbox->session = call->session;
    if (sandbox->built)
        take_parked(sandbox);
    else
        build(sandbox);
    return 0;
}

void sandbox_abandon(struct daemon *daemon, const struct session *session)
{
    for (struct sandbox *next = daemon->sandboxes; next;) {
        struct sandbox *sandbox = next;
        next = sandbox->next;
        if (sandbox->session != session)
            continue;
        sandbox->session = NULL;
        if (sandbox->state == SANDBOX_ENDED)
            sandbox_release(sandbox);
        else if (sandbox->state != SANDBOX_DESTROYING)
            end(sandbox);
    }
}

void sandbox_lost(struct daemon *daemon, const struct session *session)
{
    for (struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->session == session && sandbox->state >= SANDBOX_STARTING &&
            sandbox->state != SANDBOX_ENDED) {
            sandbox->session = NULL;
            sandbox->orphan = true;
        }
    sandbox_abandon(daemon, session);
}

bool sandbox_is_going(const struct daemon *daemon, const char *id)
{
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state == SANDBOX_DESTROYING && streq(sandbox->body.record.id, id))
            return !sandbox->body.kept;
    return false;
}

struct sandbox *sandbox_find_held(struct daemon *daemon, const char *id)
{
    for (struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state == SANDBOX_ENDED && streq(sandbox->body.record.id, id))
            return sandbox;
    return NULL;
}
