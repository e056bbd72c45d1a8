/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a sandbox as a state machine on the event loop: built, claimed, started, ended,
 * taken away. Runs in isolated as root, and waits for nobody: bodies are built and taken away
 * by the builder. Each message of init is checked against the state; a sandbox that says
 * anything else, or dies, is destroyed. Only after STARTED can the command have run. How it
 * begins is in sandbox_run.c. */
#include "daemon/sandbox.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/callers.h"
#include "daemon/cpu_time.h"
#include "daemon/foreign.h"
#include "daemon/journal.h"
#include "daemon/network.h"
#include "daemon/pool.h"
#include "daemon/quarantine.h"
#include "sys/cgroup.h"
#include "sys/process.h"

#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

void sandbox_drop_plan(struct sandbox *sandbox)
{
    if (sandbox->plan)
        run_plan_clear(sandbox->plan);
    free(TAKE_PTR(sandbox->plan));
}

struct sandbox *sandbox_new(struct daemon *daemon)
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

void sandbox_give_session(struct sandbox *sandbox, struct session *session)
{
    sandbox->session = session;
    sandbox->next_of_session = *session_sandboxes(session);
    *session_sandboxes(session) = sandbox;
}

/* Who is told now, and for the last time. */
static struct session *take_session(struct sandbox *sandbox)
{
    struct session *session = TAKE_PTR(sandbox->session);
    if (!session)
        return NULL;
    struct sandbox **at = session_sandboxes(session);
    while (*at != sandbox)
        at = &(*at)->next_of_session;
    *at = TAKE_PTR(sandbox->next_of_session);
    return session;
}

#define TELL_US 2000

static void close_sources(struct sandbox *sandbox)
{
    sandbox->park_io = sd_event_source_unref(sandbox->park_io);
    sandbox->pid_io = sd_event_source_unref(sandbox->pid_io);
    sandbox->timer = sd_event_source_unref(sandbox->timer);
    sandbox->cpu_timer = sd_event_source_unref(sandbox->cpu_timer);
    sandbox->tell = sd_event_source_unref(sandbox->tell);
    foreign_close(sandbox->body.record.owner_uid, &sandbox->fds);
    if (sandbox->plan)
        fd_list_clear(&sandbox->plan->mounts);
}

void sandbox_free(struct sandbox *sandbox)
{
    struct daemon *daemon = sandbox->body.daemon;
    struct sandbox **at = &daemon->sandboxes;
    while (*at && *at != sandbox)
        at = &(*at)->next;
    if (*at)
        *at = sandbox->next;
    close_sources(sandbox);
    sandbox_forget_callers(sandbox);
    network_forget(sandbox);
    named_unlock(&sandbox->update);
    body_clear(&sandbox->body);
    sandbox->root_fd = fd_close(sandbox->root_fd);
    sandbox_drop_plan(sandbox);
    run_request_clear(&sandbox->request);
    json_decref(sandbox->reply);
    json_decref(sandbox->late);
    json_decref(sandbox->imposed);
    free(sandbox);
    daemon_maybe_exit(daemon);
}

void sandbox_close_fds(struct daemon *daemon)
{
    for (struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        foreign_close(sandbox->body.record.owner_uid, &sandbox->fds);
}

static void on_destroyed(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    struct session *session = take_session(sandbox);
    struct error failure = sandbox->failure;
    json_t *reply = TAKE_PTR(sandbox->reply);
    if (result < 0)
        quarantine_add(sandbox->body.daemon, &sandbox->body.record);
    if (sandbox->late)
        sandbox_tell_late(sandbox);
    /* its names and its id are free before its caller knows */
    sandbox_free(sandbox);
    if (failure.code != ERROR_NONE)
        session_fail(session, &failure);
    else if (reply)
        session_reply(session, reply, false);
}

void sandbox_release(struct sandbox *sandbox)
{
    close_sources(sandbox);
    named_unlock(&sandbox->update);
    body_end(&sandbox->body);
    sandbox->state = SANDBOX_DESTROYING;
    builder_destroy(&sandbox->body, on_destroyed, sandbox);
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

static void tell_started(struct sandbox *sandbox)
{
    /* of a detached one nobody waits any more */
    bool detached = sandbox->request.detach;
    sandbox->tell = sd_event_source_unref(sandbox->tell);
    session_reply(detached ? take_session(sandbox) : sandbox->session,
                  sandbox_identity_to_json(sandbox, "started"), !detached);
}

static int on_tell(sd_event_source *source, uint64_t now_us, void *data)
{
    tell_started(data);
    return 0;
}

/* A client hears it from init, and has no use for being woken again in the middle of a short
 * command; a caller that has only us hears it a little later. */
static void tell_started_soon(struct sandbox *sandbox)
{
    if (sandbox->request.detach ||
        sd_event_add_time_relative(sandbox->body.daemon->event, &sandbox->tell, CLOCK_MONOTONIC,
                                   TELL_US, TELL_US, on_tell, sandbox) < 0)
        tell_started(sandbox);
}

/* Now nothing changes the clone any more, and its caller may have it committed. */
static void on_settled(void *data, int result, struct error *err)
{
    struct sandbox *sandbox = data;
    const char *id = sandbox->body.record.id;
    if (result == 0 && sandbox->body.stays)
        result = fail(err, ERROR_BUSY, EBUSY, "sandbox %s: its processes do not end", id);
    if (result == 0 && sandbox->session) {
        sandbox_hold_ended(sandbox);
        return;
    }
    if (result < 0)
        sandbox->failure = *err;
    sandbox_release(sandbox);
}

/* All processes are dead: tell the caller, then deal with the clone. */
static void finish(struct sandbox *sandbox)
{
    struct body *body = &sandbox->body;
    sandbox->ended_us = time_now_us();
    if (sandbox->tell)
        tell_started(sandbox);
    close_sources(sandbox);
    body_end(body);
    if (sandbox->failure.code != ERROR_NONE) {
        sandbox_tell_end(sandbox, NULL);
        if (sandbox->state >= SANDBOX_RUNNING)
            journal_sandbox(sandbox, "ended");
        else
            pool_note_failed(body->daemon, &sandbox->request, body);
        /* where the command may have run, its clone is what was asked to be kept */
        if (sandbox->state < SANDBOX_STARTING || sandbox->failure.code != ERROR_LOST)
            body->kept = body->restarted || (body->kept && sandbox->state >= SANDBOX_RUNNING);
        sandbox_release(sandbox);
        return;
    }
    if (!sandbox->session && sandbox->state < SANDBOX_STARTING) /* else it may have run */
        body->kept = body->restarted;
    json_t *reply = sandbox_ended_to_json(sandbox);
    bool held = ((sandbox->request.hold && !body->kept) || sandbox->request.post_hook) &&
                sandbox->session;
    /* who is told that it was kept, or had a port or chosen ids, may use that at once; a clone
     * that goes may go a little later */
    if (body->kept || sandbox->request.network.n_ports > 0 || sandbox->request.first_id != 0)
        sandbox->late = json_incref(reply);
    sandbox_tell_end(sandbox, reply);
    journal_sandbox(sandbox, "ended");
    if (held) {
        sandbox->reply = reply;
        sandbox->state = SANDBOX_SETTLING;
        builder_settle(body, on_settled, sandbox);
        return;
    }
    free_name(body);
    if (sandbox->late)
        sandbox->reply = reply;
    else
        session_reply(take_session(sandbox), reply, false);
    sandbox_release(sandbox);
}

/* Kills it; the rest follows when its process has ended. */
void sandbox_end(struct sandbox *sandbox)
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

void sandbox_end_failed(struct sandbox *sandbox, const struct error *err)
{
    if (sandbox->failure.code == ERROR_NONE)
        sandbox->failure = *err;
    sandbox_end(sandbox);
}

#define HANGING_US 5000000
#define ADOPTED_US 5000000
#define START_US                                                                               \
    40000000 /* from START to STARTED: no program of a disk that answers needs as long */

/* What does not end then hangs in the kernel, on a disk that has failed: its caller waits no
 * longer, and the clone is quarantined. */
static int on_hanging(sd_event_source *source, uint64_t now_us, void *data)
{
    struct sandbox *sandbox = data;
    log_warning("sandbox %s: it is killed and does not end", sandbox->body.record.id);
    sandbox->body.hangs = true;
    if (sandbox->built && sandbox->state < SANDBOX_SETTLING)
        finish(sandbox);
    return 0;
}

static void kill_and_watch(struct sandbox *sandbox)
{
    (void)!cgroup_kill(sandbox->body.cgroup_fd);
    sandbox->timer = sd_event_source_unref(sandbox->timer);
    if (sd_event_add_time_relative(sandbox->body.daemon->event, &sandbox->timer,
                                   CLOCK_MONOTONIC, HANGING_US, 0, on_hanging, sandbox) < 0)
        log_warning("sandbox %s: no timer watches its end", sandbox->body.record.id);
}

void sandbox_time_is_over(struct sandbox *sandbox, int kind)
{
    log_warning("sandbox %s: its init did not end it in time", sandbox->body.record.id);
    if (sandbox->exit_kind == 0)
        sandbox->exit_kind = kind;
    kill_and_watch(sandbox);
}

static int on_timeout(sd_event_source *source, uint64_t now_us, void *data)
{
    sandbox_time_is_over(data, EXIT_KIND_TIMEOUT);
    return 0;
}

/* The disk that its program is on does not answer, and so it cannot be ended either. */
static int on_start_late(sd_event_source *source, uint64_t now_us, void *data)
{
    struct sandbox *sandbox = data;
    struct error err = {0};
    (void)!fail(
        &err, ERROR_LOST, ETIMEDOUT,
        "the command has not started within %d s, as where a disk does not answer; it is "
        "killed, and whether it ran is unknown",
        START_US / 1000000);
    kill_and_watch(sandbox);
    sandbox_end_failed(sandbox, &err);
    return 0;
}

int sandbox_watch_start(struct sandbox *sandbox, struct error *err)
{
    int r = sd_event_add_time_relative(sandbox->body.daemon->event, &sandbox->timer,
                                       CLOCK_MONOTONIC, START_US, 0, on_start_late, sandbox);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the start: ") : 0;
}

/* One that is adopted has a moment to say how it ended while nobody was there. */
static uint64_t end_of_time(const struct sandbox *sandbox, bool adopted)
{
    uint64_t now_us = time_now_us();
    uint64_t timeout_us = (sandbox->request.timeout_ms + SANDBOX_END_GRACE_MS) * 1000;
    uint64_t end_us =
        (adopted && sandbox->started_us ? sandbox->started_us : now_us) + timeout_us;
    return end_us > now_us + ADOPTED_US ? end_us : now_us + ADOPTED_US;
}

int sandbox_watch_clocks(struct sandbox *sandbox, bool adopted, struct error *err)
{
    sandbox->timer = sd_event_source_unref(sandbox->timer);
    if (sandbox->request.timeout_ms == 0)
        return cpu_time_watch(sandbox, adopted, err);
    int r = sd_event_add_time(sandbox->body.daemon->event, &sandbox->timer, CLOCK_MONOTONIC,
                              end_of_time(sandbox, adopted), 0, on_timeout, sandbox);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the time: ")
                 : cpu_time_watch(sandbox, adopted, err);
}

/* Where a foreign engine says that it failed, it may be too old to know what it was told. */
static int on_failed(const struct sandbox *sandbox, const struct message *message,
                     struct error *err)
{
    const char *oldest = sandbox->body.engine->oldest;
    message_to_error(message, err);
    return oldest && err->errnum == EIO && text_after(err->text, "engine ")
               ? error_suffix(err, -err->errnum, "; isolate needs %s or later", oldest)
               : -err->errnum;
}

static int on_message(struct sandbox *sandbox, const struct message *message, struct error *err)
{
    if (message->type == MESSAGE_FAILED && sandbox->state < SANDBOX_RUNNING)
        return on_failed(sandbox, message, err);
    if (sandbox->state == SANDBOX_BUILDING && message->type == MESSAGE_READY)
        return sandbox_on_ready(sandbox, err);
    if (sandbox->state == SANDBOX_LOOKUP && message->type == MESSAGE_USER)
        return sandbox_on_user(sandbox, message, err);
    if (sandbox->state == SANDBOX_STARTING && message->type == MESSAGE_STARTED) {
        sandbox->state = SANDBOX_RUNNING;
        pool_note(sandbox->body.daemon, &sandbox->request, &sandbox->body);
        journal_sandbox(sandbox, "started");
        tell_started_soon(sandbox);
        return sandbox_watch_clocks(sandbox, false, err);
    }
    if (sandbox->state == SANDBOX_RUNNING && message->serial != 0)
        return sandbox_on_exec(sandbox, message, err);
    if (sandbox->state == SANDBOX_RUNNING && message->type == MESSAGE_EXITED &&
        sandbox->exit_kind == 0 && message->value >= EXIT_KIND_EXITED &&
        message->value < _EXIT_KINDS) {
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
    /* of an init that is taken over, where the kernel lets it send some (before 6.16) */
    if (foreign_refuse(sandbox->body.record.owner_uid, &fds)) {
        log_warning("sandbox %s: its init sends files: it is ended", sandbox->body.record.id);
        (void)!cgroup_kill(sandbox->body.cgroup_fd);
    }
    foreign_close(sandbox->body.record.owner_uid, &fds);
    if (r == -EAGAIN)
        return 0;
    if (r == 1)
        r = on_message(sandbox, &message, &err);
    else if (sandbox->state == SANDBOX_RUNNING) /* its end is seen by its pidfd */
        r = sd_event_source_set_enabled(source, SD_EVENT_OFF);
    else if (sandbox->state == SANDBOX_STARTING && !unread) /* START is the last it was sent */
        r = fail(&err, ERROR_LOST, ECONNRESET,
                 "the sandbox died while the command started; whether it ran is unknown");
    else
        r = fail(&err, ERROR_SYSTEM, ECONNRESET,
                 "the sandbox died before the command started; nothing ran");
    if (r < 0) {
        (void)sd_event_source_set_enabled(source, SD_EVENT_OFF);
        sandbox_end_failed(sandbox, &err);
    }
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

/* Without a way to its init only its end is seen. */
int sandbox_watch(struct sandbox *sandbox, struct error *err)
{
    sd_event *event = sandbox->body.daemon->event;
    const struct engine_instance *instance = &sandbox->body.instance;
    int r = sd_event_add_io(event, &sandbox->pid_io, instance->pidfd, EPOLLIN, on_end, sandbox);
    if (r >= 0) /* what init said before its end comes first */
        r = sd_event_source_set_priority(sandbox->pid_io, PRIORITY_ENDS);
    if (r >= 0 && instance->park_fd >= 0)
        r = sd_event_add_io(event, &sandbox->park_io, instance->park_fd, EPOLLIN, on_park,
                            sandbox);
    if (r >= 0 && sandbox->park_io) /* and before what its caller asks for next */
        r = sd_event_source_set_priority(sandbox->park_io, PRIORITY_INIT);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "watch the sandbox: ") : 0;
}

void sandbox_abandon(struct session *session)
{
    while (*session_sandboxes(session)) {
        struct sandbox *sandbox = *session_sandboxes(session);
        (void)take_session(sandbox);
        if (sandbox->state == SANDBOX_ENDED)
            sandbox_release(sandbox);
        else if (sandbox->state < SANDBOX_SETTLING)
            sandbox_end(sandbox);
    }
}

void sandbox_lost(struct session *session)
{
    for (struct sandbox *next = *session_sandboxes(session); next;) {
        struct sandbox *sandbox = next;
        next = sandbox->next_of_session;
        if (sandbox->state < SANDBOX_STARTING || sandbox->state == SANDBOX_SETTLING ||
            sandbox->state == SANDBOX_ENDED)
            continue;
        (void)take_session(sandbox);
        sandbox->orphan = true;
    }
    sandbox_abandon(session);
}

bool sandbox_is_going(const struct daemon *daemon, const char *id)
{
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state == SANDBOX_DESTROYING && streq(sandbox->body.record.id, id))
            return !sandbox->body.kept;
    return false;
}

bool sandbox_is_coming(const struct daemon *daemon, const char *id)
{
    for (const struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state < SANDBOX_RUNNING && streq(sandbox->body.record.id, id))
            return true;
    return false;
}

struct sandbox *sandbox_find_held(struct daemon *daemon, const char *id)
{
    for (struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next)
        if (sandbox->state == SANDBOX_ENDED && sandbox->request.hold &&
            streq(sandbox->body.record.id, id))
            return sandbox;
    return NULL;
}
