/* SPDX-License-Identifier: Apache-2.0 */
/* One client's connection: reads a call, dispatches it, replies. Runs in isolated as root; what
 * arrives is the caller's. While a call is being worked on no other one is read, but the end of
 * the connection is noticed at once. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/apart.h"
#include "daemon/callers.h"
#include "daemon/daemon.h"
#include "daemon/decoder.h"
#include "daemon/foreign.h"
#include "daemon/methods.h"
#include "daemon/sandbox.h"
#include "varlink/decoder.h"

#include <malloc.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

_Static_assert(2 * START_STRINGS + 16384 < VARLINK_VALUES_MAX, "what a Run may hold");

struct session {
    struct daemon *daemon;
    struct session *next;
    struct sandbox *sandboxes;
    uint64_t id;             /* never used again */
    struct decoder *decoder; /* through which it is served; NULL: by ourselves */
    uint32_t connection;     /* its number there */
    struct varlink varlink;
    struct peer peer;
    sd_event_source *io;
    int caller_pidfd;           /* of the process that made the connection */
    sd_event_source *caller_io; /* its end */
    bool busy;
};

void session_gone(struct session *session)
{
    struct daemon *daemon = session->daemon;
    apart_abandon(daemon, session);
    worker_abandon(daemon, session);
    sandbox_abandon(session);
    session_free(session);
    daemon_maybe_exit(daemon);
}

/* Before there is a tree of it, which all others wait for: of what a message may be it takes up
 * to 19 MiB beside what is in strings. The decoder counts, too, but may have been taken over.
 */
static int check_text(const char *text, size_t length, struct error *err)
{
    char method[64];
    if (json_count_values(text) > VARLINK_VALUES_MAX)
        return fail(err, ERROR_PROTOCOL, EMSGSIZE, VARLINK_TOO_MANY_VALUES);
    if (length <= CALL_LENGTH_MAX)
        return 0;
    /* the method of the tree may be another one, and is looked at again by methods_dispatch */
    bool found = json_scan_string(text, "method", method, sizeof(method));
    return methods_check_length(found ? method : "", length, err);
}

static json_t *parse(const char *text, size_t length, struct error *err)
{
    json_error_t where;
    if (check_text(text, length, err) < 0)
        return NULL;
    json_t *message = json_loads(text, JSON_REJECT_DUPLICATES, &where);
    if (!message)
        (void)fail(err, ERROR_PROTOCOL, EPROTO, "not a varlink call: %s", where.text);
    return message;
}

void session_call(struct session *session, const char *text, struct fd_list *fds)
{
    struct error err = {0};
    size_t length = strlen(text);
    json_t *message = parse(text, length, &err);
    json_t *parameters = json_object_get(message, "parameters");
    json_t *empty = json_object();
    struct call call = {
        .session = session,
        .method = json_string_value(json_object_get(message, "method")),
        .parameters = json_is_object(parameters) ? parameters : empty,
        .fds = fds,
        .more = json_is_true(json_object_get(message, "more")),
        .length = length,
        .peer = &session->peer,
    };
    int r = message ? 0 : -EPROTO;
    session_set_busy(session, true);
    if (message && !call.method)
        r = fail(&err, ERROR_PROTOCOL, EPROTO, "not a varlink call: no method");
    else if (parameters && !json_is_object(parameters))
        r = fail(&err, ERROR_PROTOCOL, EPROTO, "not a varlink call: parameters is no object");
    else if (message)
        r = methods_dispatch(&call, &err);
    if (r < 0) {
        /* the decoder is to be the last who closes what came from a caller, but it may have
         * been the first */
        foreign_close(session->peer.uid, fds);
        session_fail(session, &err);
    }
    json_decref(empty);
    json_decref(message);
    /* malloc would keep what its tree was, up to 80 times as much as its text, and each fork
     * would copy it */
    if (length > CALL_LENGTH_MAX)
        (void)malloc_trim(0);
}

static int on_io(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct session *session = data;
    const char *text = NULL;
    if (session->busy) {
        session_gone(session);
        return 0;
    }
    int r = varlink_receive(&session->varlink, false, &text);
    if (r == -EAGAIN)
        return 0;
    if (r <= 0) {
        session_gone(session);
        return 0;
    }
    _cleanup_fd_list_ struct fd_list fds = session->varlink.fds;
    session->varlink.fds.n = 0;
    session_call(session, text, &fds);
    return 0;
}

void session_set_busy(struct session *session, bool busy)
{
    session->busy = busy;
    if (session->io)
        (void)sd_event_source_set_io_events(session->io,
                                            busy ? EPOLLRDHUP : EPOLLIN | EPOLLRDHUP);
}

static void enlist(struct session *session, struct daemon *daemon)
{
    static uint64_t last_id;
    session->daemon = daemon;
    session->id = ++last_id;
    session->next = daemon->sessions;
    daemon->sessions = session;
}

int session_new(struct daemon *daemon, int take_fd, struct error *err)
{
    struct session *session = calloc(1, sizeof(*session));
    if (!session) {
        fd_close(take_fd);
        return fail(err, ERROR_SYSTEM, ENOMEM, "session: ");
    }
    session->varlink.fd = take_fd;
    session->caller_pidfd = -EBADF;
    enlist(session, daemon);
    int r = peer_read(take_fd, &session->peer, err);
    if (r == 0) {
        r = sd_event_add_io(daemon->event, &session->io, take_fd, EPOLLIN | EPOLLRDHUP, on_io,
                            session);
        if (r < 0)
            r = fail(err, ERROR_SYSTEM, r, "session: ");
    }
    if (r < 0)
        session_free(session);
    return r;
}

static int on_end_of_caller(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct session *session = data;
    session->caller_io = sd_event_source_unref(session->caller_io);
    session_hang_up(session);
    return 0;
}

/* The end of the connection alone does not say that its caller is gone: that one may have sent
 * its own end along, in half a message, or behind a call, and then it never comes. */
static int watch_caller(struct session *session, int fd, struct error *err)
{
    session->caller_pidfd = peer_pidfd(fd);
    if (session->caller_pidfd < 0)
        return fail(err, ERROR_SYSTEM, session->caller_pidfd,
                    "the process that made the connection: ");
    int r = sd_event_add_io(session->daemon->event, &session->caller_io, session->caller_pidfd,
                            EPOLLIN, on_end_of_caller, session);
    /* what it did before comes first */
    if (r >= 0)
        r = sd_event_source_set_priority(session->caller_io, PRIORITY_ENDS_OF_CALLERS);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "session: ") : 0;
}

int session_relayed(struct daemon *daemon, struct decoder *decoder, const struct peer *peer,
                    int fd, uint32_t *ret_connection, struct error *err)
{
    static uint32_t last_connection;
    struct session *session = calloc(1, sizeof(*session));
    if (!session)
        return fail(err, ERROR_SYSTEM, ENOMEM, "session: ");
    session->varlink.fd = -EBADF;
    session->decoder = decoder;
    session->peer = *peer;
    session->connection = *ret_connection = ++last_connection;
    enlist(session, daemon);
    int r = watch_caller(session, fd, err);
    if (r < 0)
        session_free(session);
    return r;
}

struct session *session_of(struct daemon *daemon, const struct decoder *decoder,
                           uint32_t connection)
{
    struct session *session = daemon->sessions;
    while (session && (session->decoder != decoder || session->connection != connection))
        session = session->next;
    return session;
}

void session_lost_all(struct daemon *daemon, const struct decoder *decoder)
{
    for (struct session *next = daemon->sessions; next;) {
        struct session *session = next;
        next = session->next;
        if (session->decoder != decoder)
            continue;
        apart_abandon(daemon, session);
        sandbox_lost(session);
        session_free(session);
    }
}

void session_free(struct session *session)
{
    if (!session)
        return;
    struct session **at = &session->daemon->sessions;
    while (*at && *at != session)
        at = &(*at)->next;
    if (*at)
        *at = session->next;
    session->io = sd_event_source_unref(session->io);
    session->caller_io = sd_event_source_unref(session->caller_io);
    session->caller_pidfd = fd_close(session->caller_pidfd);
    varlink_clear(&session->varlink);
    free(session);
}

uint64_t session_id(const struct session *session)
{
    return session->id;
}

struct sandbox **session_sandboxes(struct session *session)
{
    return &session->sandboxes;
}

struct session *session_find(struct daemon *daemon, uint64_t id)
{
    struct session *session = daemon->sessions;
    while (session && session->id != id)
        session = session->next;
    return session;
}

struct daemon *session_daemon(struct session *session)
{
    return session->daemon;
}

void session_redirect(struct session *session, int fd)
{
    session->decoder = NULL;
    session->varlink.fd = fd;
}

void session_stream(struct session *session, int fd)
{
    const struct packet packet = {
        .type = DECODER_STREAM, .id = session->connection, .fds = {1, {fd}}};
    decoder_send(session->decoder, &packet, "");
}

void session_hang_up(struct session *session)
{
    const struct packet packet = {.type = DECODER_CLOSE, .id = session->connection};
    if (session->decoder)
        decoder_send(session->decoder, &packet, "");
}

static void send_text(struct session *session, const char *text, bool continues, int fd)
{
    size_t n = fd >= 0 ? 1 : 0;
    if (session->decoder) {
        const struct packet packet = {.type = DECODER_REPLY,
                                      .id = session->connection,
                                      .value = continues,
                                      .fds = {n, {fd}}};
        decoder_send(session->decoder, &packet, text);
    } else if (varlink_send(&session->varlink, text, strlen(text), &fd, n) < 0) {
        /* who waits for it for ever is told by the end, and so is the event loop */
        (void)shutdown(session->varlink.fd, SHUT_RDWR);
    }
}

static void send_json(struct session *session, json_t *take_message, bool continues, int fd)
{
    char *text = take_message ? json_dumps(take_message, JSON_COMPACT) : NULL;
    json_decref(take_message);
    if (!text)
        log_error("a reply could not be made: out of memory");
    send_text(session,
              text ? text
                   : "{\"error\":\"io.isolate.System\",\"parameters\":{\"message\":"
                     "\"isolated is out of memory\",\"errno\":12}}",
              continues, fd);
    free(text);
}

void session_reply(struct session *session, json_t *take_parameters, bool continues)
{
    if (!session) {
        json_decref(take_parameters);
        return;
    }
    json_t *message = json_pack("{s:o}", "parameters", take_parameters);
    if (message && continues)
        (void)json_object_set_new(message, "continues", json_true());
    if (!continues)
        session_set_busy(session, false);
    send_json(session, message, continues, -EBADF);
}

void session_reply_fd(struct session *session, json_t *take_parameters, int fd)
{
    session_set_busy(session, false);
    send_json(session, json_pack("{s:o}", "parameters", take_parameters), false, fd);
}

void session_error(struct session *session, const char *name, json_t *take_parameters)
{
    session_set_busy(session, false);
    send_json(session, json_pack("{s:s, s:o}", "error", name, "parameters", take_parameters),
              false, -EBADF);
}

json_t *session_error_message(const struct error *err)
{
    char name[64];
    /* whatever bytes a name in the message had: JSON is UTF-8 */
    char escaped[2 * ERROR_TEXT_MAX];
    text_escape(escaped, sizeof(escaped), err->text);
    (void)snprintf(name, sizeof(name), "io.isolate.%s", error_code_name(err->code));
    return json_pack("{s:s, s:{s:s, s:i}}", "error", name, "parameters", "message", escaped,
                     "errno", err->errnum);
}

void session_fail(struct session *session, const struct error *err)
{
    if (!session)
        return;
    session_set_busy(session, false);
    send_json(session, session_error_message(err), false, -EBADF);
}
