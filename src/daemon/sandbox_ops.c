/* SPDX-License-Identifier: Apache-2.0 */
/* Methods on a sandbox that runs: Exec, Kill, Wait, Attach, Logs; and those who wait for its
 * end. Run in isolated as root; names are the caller's, what init answers may be the sandbox's.
 */
#include "daemon/methods.h"
#include "daemon/sandbox.h"

#include "base/buffer.h"
#include "base/text.h"
#include "paths.h"
#include "spec/defaults.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <signal.h>
#include <string.h>
#include <sys/socket.h>

#define CALLERS_MAX  256  /* of one sandbox */
#define STRAY_MAX    1024 /* answers to an earlier isolated */
#define ENDED_MAX    256  /* of one user */
#define ENDED_FOR_US (600 * 1000000ULL)

/* Who waits for what becomes of a sandbox, or of a command in it. */
struct sandbox_caller {
    struct sandbox_caller *next;
    uint64_t session_id;
    uint32_t serial; /* of an exec; 0: it waits for the end */
};

/* What became of a sandbox, for who asks later. */
struct ended {
    struct ended *next;
    char id[CLONE_NAME_SIZE];
    char name[NAME_TEMPLATE_MAX + 1];
    uint32_t owner_uid;
    uint64_t ended_us;
    json_t *reply;
    int log_fd; /* -EBADF: it had none */
};

/* One that starts is found, too: its init takes what it is told in turn, and START comes first.
 */
static bool is_there(const struct sandbox *sandbox)
{
    return sandbox->state >= SANDBOX_STARTING && sandbox->state <= SANDBOX_RUNNING;
}

static bool is_late(const struct sandbox *sandbox)
{
    return sandbox->late != NULL;
}

static struct sandbox *sandbox_find(struct daemon *daemon, const struct peer *viewer,
                                    const char *name,
                                    bool (*fits)(const struct sandbox *sandbox))
{
    struct sandbox *found = NULL;
    for (struct sandbox *sandbox = daemon->sandboxes; sandbox; sandbox = sandbox->next) {
        const struct record *record = &sandbox->body.record;
        bool own = record->owner_uid == viewer->uid;
        if (!fits(sandbox) || (!own && viewer->uid != 0))
            continue;
        if (streq(record->id, name))
            return sandbox;
        if (*record->name && streq(record->name, name) && (own || !found))
            found = sandbox;
    }
    return found;
}

static int need_resident(const struct daemon *daemon, struct error *err)
{
    return daemon->resident
               ? 0
               : fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                      "this needs the resident daemon, and none runs: systemctl start "
                      "isolated.socket (or run %s/isolated)",
                      daemon->libexec);
}

static int find_running(const struct call *call, const char *name, struct sandbox **ret,
                        struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    *ret = sandbox_find(daemon, call->peer, name, is_there);
    int r = *ret ? 0 : need_resident(daemon, err);
    return *ret || r < 0 ? r
                         : fail(err, ERROR_NOT_FOUND, ENOENT,
                                "\"%.80s\": no such sandbox runs; see `isolate ps`", name);
}

static int need_sandbox(const struct call *call, struct sandbox **ret, struct error *err)
{
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    return r < 0 ? r : find_running(call, name, ret, err);
}

/* The park socket does not block: an init that leaves much unread is told no more. */
static int tell_init(const struct sandbox *sandbox, const struct message *message,
                     const int *fds, size_t n_fds, struct error *err)
{
    const char *id = sandbox->body.record.id;
    int r = sandbox->body.instance.park_fd >= 0 && sandbox->park_io
                ? message_send(sandbox->body.instance.park_fd, message, fds, n_fds)
                : -ENOTCONN;
    if (r == -ENOTCONN || r == -EPIPE || r == -ECONNRESET)
        return fail(err, ERROR_BUSY, r,
                    "sandbox %s: its init cannot be reached; it can still be killed", id);
    if (r == -EAGAIN || r == -ETOOMANYREFS)
        return fail(err, ERROR_BUSY, r,
                    "sandbox %s: its init has not yet done what it was told before; try again "
                    "later, or kill it",
                    id);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "sandbox %s: ", id) : 0;
}

/* Of those who have left meanwhile nobody is to be told. */
static unsigned drop_stale_callers(struct sandbox *sandbox)
{
    unsigned n = 0;
    for (struct sandbox_caller **at = &sandbox->callers; *at;) {
        struct sandbox_caller *caller = *at;
        if (session_find(sandbox->body.daemon, caller->session_id)) {
            at = &caller->next;
            n++;
            continue;
        }
        *at = caller->next;
        free(caller);
    }
    return n;
}

static int add_caller(struct sandbox *sandbox, const struct call *call, uint32_t serial,
                      struct error *err)
{
    if (drop_stale_callers(sandbox) >= CALLERS_MAX)
        return fail(err, ERROR_BUSY, EBUSY, "%d callers wait for sandbox %s already",
                    CALLERS_MAX, sandbox->body.record.id);
    struct sandbox_caller *caller = calloc(1, sizeof(*caller));
    if (!caller)
        return fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", call->method);
    *caller = (struct sandbox_caller){
        .next = sandbox->callers,
        .session_id = session_id(call->session),
        .serial = serial,
    };
    sandbox->callers = caller;
    return 0;
}

static void drop_newest_caller(struct sandbox *sandbox)
{
    struct sandbox_caller *caller = sandbox->callers;
    sandbox->callers = caller->next;
    free(caller);
}

/* Whether a member asks for something: false, 0 and nothing do not. */
static bool is_asked(const json_t *value)
{
    return json_is_true(value) || (json_is_integer(value) && json_integer_value(value) != 0) ||
           json_is_string(value) || json_is_object(value) || json_array_size(value) > 0;
}

/* All else only the building of a sandbox can give. */
static int check_exec(const json_t *parameters, const struct run_request *request,
                      struct error *err)
{
    static const char taken[] = "client sandbox control argv argv_base64 env env_base64 user "
                                "workdir tty cap_drop";
    const char *name = NULL;
    json_t *value = NULL;
    if (!request->sandbox)
        return fail(err, ERROR_INVALID, EINVAL, "exec: \"sandbox\" is missing");
    json_object_foreach((json_t *)parameters, name, value)
    {
        if (is_asked(value) && !text_has_word(taken, name))
            return fail(err, ERROR_INVALID, EINVAL,
                        "exec: \"%.40s\" is of no use here: the sandbox is built", name);
    }
    return 0;
}

static int send_exec(const struct sandbox *sandbox, const struct run_request *request,
                     int control_fd, uint32_t serial, struct error *err)
{
    _cleanup_buffer_ struct buffer spec = {0};
    const struct start start = {
        .flags = (request->tty ? START_TTY : 0) |
                 (request->n_argv == 0 ? START_SHELL_LOGIN : 0) |
                 (request->user ? START_USER_TEXT : START_SAME_USER) |
                 (request->user && !strchr(request->user, ':') ? START_USER_BY_NAME : 0),
        .umask = 022,
        .capabilities = request->capabilities,
        .hostname = "",
        .workdir = request->workdir ? request->workdir : "",
        .user = request->user ? request->user : "",
        .n_argv = request->n_argv,
        .argv = (const char **)request->argv,
        .n_env = request->n_env,
        .env = (const char **)request->env,
    };
    int r = start_encode(&start, &spec, err);
    if (r < 0)
        return r;
    _cleanup_close_ int spec_fd = memfd_sealed("isolate-start", spec.data, spec.length, 0600);
    if (spec_fd < 0)
        return fail(err, ERROR_SYSTEM, spec_fd, "exec: memfd: ");
    const struct message message = {.type = MESSAGE_EXEC, .serial = serial};
    const int fds[] = {spec_fd, control_fd};
    return tell_init(sandbox, &message, fds, 2, err);
}

int method_exec(struct call *call, struct error *err)
{
    static uint32_t last_serial;
    struct sandbox *sandbox = NULL;
    _cleanup_run_request_ struct run_request request = {0};
    int r = run_request_decode(call->parameters, call->fds->n, &request, err);
    if (r == 0)
        r = check_exec(call->parameters, &request, err);
    if (r < 0)
        return r;
    if (!request.client || !streq(request.client, ISOLATE_VERSION))
        return fail(err, ERROR_PROTOCOL, EPROTO,
                    "this client has version %.20s, but isolated has %s",
                    request.client ? request.client : "unknown", ISOLATE_VERSION);
    r = find_running(call, request.sandbox, &sandbox, err);
    if (r == 0)
        r = defaults_apply_exec(sandbox->body.record.defaults, &request, err);
    if (r == 0)
        r = engine_require(sandbox->body.engine, ENGINE_EXEC, "run one more command", err);
    if (r == 0)
        r = add_caller(sandbox, call, ++last_serial, err);
    if (r < 0)
        return r;
    /* who is told that it failed may try again: so nothing fails behind this */
    sandbox->n_execs++;
    r = send_exec(sandbox, &request, call->fds->fds[request.control], last_serial, err);
    if (r < 0)
        drop_newest_caller(sandbox);
    return r;
}

/* The session of a caller that is to be told now; the caller is forgotten. */
static struct session *take_caller(struct sandbox *sandbox, struct sandbox_caller **at)
{
    struct sandbox_caller *caller = *at;
    struct session *session = session_find(sandbox->body.daemon, caller->session_id);
    *at = caller->next;
    free(caller);
    return session;
}

int sandbox_on_exec(struct sandbox *sandbox, const struct message *message, struct error *err)
{
    struct sandbox_caller **at = &sandbox->callers;
    while (*at && (*at)->serial != message->serial)
        at = &(*at)->next;
    if (!*at) /* of an earlier isolated, or of a caller who has gone: not of more than asked */
        return sandbox->n_stray++ < sandbox->n_execs + STRAY_MAX
                   ? 0
                   : fail(err, ERROR_PROTOCOL, EPROTO, "init answers what nobody has asked");
    struct session *session = take_caller(sandbox, at);
    struct error told = {0};
    if (message->type == MESSAGE_STARTED) {
        session_reply(session, json_pack("{s:s}", "state", "started"), false);
    } else {
        message_to_error(message, &told);
        session_fail(session, &told);
    }
    return 0;
}

int method_kill(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    json_t *value = json_object_get(call->parameters, "signal");
    json_int_t number = value ? json_integer_value(value) : SIGTERM;
    int r = need_sandbox(call, &sandbox, err);
    if (r < 0)
        return r;
    if (number < 1 || number > 64)
        return fail(err, ERROR_INVALID, EINVAL, "kill: signal %d: not from 1 to 64",
                    (int)number);
    if (number == SIGKILL) {
        r = cgroup_kill(sandbox->body.cgroup_fd);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "kill: ");
        sandbox->killed = true;
    } else {
        const struct message message = {.type = MESSAGE_SIGNAL, .value = (int32_t)number};
        r = tell_init(sandbox, &message, NULL, 0, err);
        if (r < 0)
            return r;
    }
    return call_done(call, json_pack("{s:s}", "id", sandbox->body.record.id), err);
}

static void ended_free(struct ended *ended)
{
    json_decref(ended->reply);
    fd_close(ended->log_fd);
    free(ended);
}

/* The newest first; what is old, or one too many, goes. */
static void trim_ended(struct daemon *daemon)
{
    uint64_t now = time_now_us();
    unsigned n = 0;
    uint32_t uid = daemon->ended ? daemon->ended->owner_uid : 0; /* of who has one more now */
    for (struct ended **at = &daemon->ended; *at;) {
        struct ended *ended = *at;
        n += ended->owner_uid == uid;
        if ((ended->owner_uid != uid || n <= ENDED_MAX) &&
            now - ended->ended_us < ENDED_FOR_US) {
            at = &ended->next;
            continue;
        }
        *at = ended->next;
        ended_free(ended);
    }
}

void sandbox_forget_ended(struct daemon *daemon)
{
    while (daemon->ended) {
        struct ended *ended = daemon->ended;
        daemon->ended = ended->next;
        ended_free(ended);
    }
}

static void remember(struct sandbox *sandbox, json_t *reply)
{
    struct daemon *daemon = sandbox->body.daemon;
    const struct record *record = &sandbox->body.record;
    struct ended *ended = daemon->resident ? calloc(1, sizeof(*ended)) : NULL;
    if (!ended)
        return;
    *ended = (struct ended){
        .next = daemon->ended,
        .owner_uid = record->owner_uid,
        .ended_us = time_now_us(),
        .reply = json_incref(reply),
        .log_fd = log_open(daemon, record->id),
    };
    (void)snprintf(ended->id, sizeof(ended->id), "%s", record->id);
    (void)snprintf(ended->name, sizeof(ended->name), "%s", record->name);
    daemon->ended = ended;
    trim_ended(daemon);
}

static struct ended *ended_find(struct daemon *daemon, const struct peer *viewer,
                                const char *name)
{
    trim_ended(daemon);
    for (struct ended *ended = daemon->ended; ended; ended = ended->next)
        if ((ended->owner_uid == viewer->uid || viewer->uid == 0) &&
            (streq(ended->id, name) || (*ended->name && streq(ended->name, name))))
            return ended;
    return NULL;
}

void sandbox_tell_end(struct sandbox *sandbox, json_t *ended)
{
    struct error lost = {
        .code = ERROR_LOST, .errnum = ECONNRESET, .text = "the sandbox has ended"};
    const struct error *failure = &sandbox->failure;
    if (sandbox->state < SANDBOX_RUNNING && failure->code != ERROR_NONE &&
        failure->code != ERROR_LOST)
        (void)fail(&lost, ERROR_NOT_FOUND, ENOENT, "sandbox %s: has not started: %s",
                   sandbox->body.record.id, failure->text);
    for (struct sandbox_caller **at = &sandbox->callers; *at;) {
        bool waits = (*at)->serial == 0;
        if (waits && sandbox->late) {
            at = &(*at)->next;
            continue;
        }
        struct session *session = take_caller(sandbox, at);
        if (waits && ended)
            session_reply(session, json_incref(ended), false);
        else
            session_fail(session, &lost);
    }
    if (ended && (sandbox->request.detach || sandbox->orphan))
        remember(sandbox, ended);
}

void sandbox_tell_late(struct sandbox *sandbox)
{
    while (sandbox->callers)
        session_reply(take_caller(sandbox, &sandbox->callers), json_incref(sandbox->late),
                      false);
}

void sandbox_forget_callers(struct sandbox *sandbox)
{
    while (sandbox->callers)
        (void)take_caller(sandbox, &sandbox->callers);
}

/* What runs, is being taken away, or has ended lately: one of them. What has ended is
 * remembered while it is taken away, by the name that it had. */
static int need_known(const struct call *call, struct sandbox **ret, struct ended **ret_ended,
                      struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = NULL;
    int r = call_need_text(call, "name", &name, err);
    if (r < 0)
        return r;
    *ret = sandbox_find(daemon, call->peer, name, is_there);
    if (!*ret)
        *ret = sandbox_find(daemon, call->peer, name, is_late);
    *ret_ended = *ret ? NULL : ended_find(daemon, call->peer, name);
    if (*ret || *ret_ended)
        return 0;
    r = need_resident(daemon, err);
    return r < 0 ? r
                 : fail(err, ERROR_NOT_FOUND, ENOENT,
                        "\"%.80s\": no such sandbox runs, or has ended lately; see `isolate ps "
                        "-a`",
                        name);
}

int method_wait(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    struct ended *ended = NULL;
    int r = need_known(call, &sandbox, &ended, err);
    if (r < 0)
        return r;
    if (ended)
        sandbox = sandbox_find(session_daemon(call->session), call->peer, ended->id, is_late);
    return sandbox ? add_caller(sandbox, call, 0, err)
                   : call_done(call, json_incref(ended->reply), err);
}

int method_attach(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    json_t *index = json_object_get(call->parameters, "control");
    json_int_t control = json_is_integer(index) ? json_integer_value(index) : -1;
    int r = need_sandbox(call, &sandbox, err);
    if (r < 0)
        return r;
    if (control < 0 || (size_t)control >= call->fds->n)
        return fail(err, ERROR_INVALID, EINVAL, "attach: \"control\" names no fd");
    _cleanup_close_ int log = log_open(session_daemon(call->session), sandbox->body.record.id);
    if (!sandbox->request.detach || log < 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "sandbox %s was not started with -d: its output goes to who started it",
                    sandbox->body.record.id);
    const struct message message = {.type = MESSAGE_ATTACH, .value = 1};
    r = tell_init(sandbox, &message, &call->fds->fds[control], 1, err);
    if (r < 0)
        return r;
    bool tty = json_is_true(json_object_get(sandbox->body.record.request, "tty"));
    session_reply_fd(
        call->session,
        json_pack("{s:s, s:b, s:i}", "id", sandbox->body.record.id, "tty", (int)tty, "log", 0),
        log);
    return 0;
}

int method_logs(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    struct ended *ended = NULL;
    int r = need_known(call, &sandbox, &ended, err);
    if (r < 0)
        return r;
    const char *id = sandbox ? sandbox->body.record.id : ended->id;
    if (sandbox && is_late(sandbox)) /* the file may have gone already */
        ended = ended_find(sandbox->body.daemon, call->peer, id);
    _cleanup_close_ int log =
        ended ? dup_cloexec(ended->log_fd) : log_open(sandbox->body.daemon, id);
    if (log < 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "\"%.80s\": was not started with -d: its output went to who started it",
                    call_text(call, "name"));
    session_reply_fd(call->session, json_pack("{s:s, s:i}", "id", id, "log", 0), log);
    return 0;
}
