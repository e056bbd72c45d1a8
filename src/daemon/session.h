/* SPDX-License-Identifier: Apache-2.0 */
/* Connections and the calls that come by them. */
#pragma once

#include "base/error.h"
#include "daemon/peer.h"
#include "sys/socket.h"

#include <jansson.h>
#include <stdbool.h>
#include <sys/types.h>

struct daemon;
struct session;
struct decoder;
struct sandbox;

struct call {
    struct session *session;
    const char *method;
    json_t *parameters;  /* borrowed during the handler */
    struct fd_list *fds; /* of this message; a handler takes what it keeps by TAKE_FD */
    bool more;
    size_t length; /* of the whole message */
    const struct peer *peer;
};
/* A connection that is served here: the one of a one-shot. */
int session_new(struct daemon *daemon, int take_fd, struct error *err) _must_check_;
/* One that a decoder serves, by its socket (borrowed); its number there. It ends with the
 * process that made it, whoever else has its other end. */
int session_relayed(struct daemon *daemon, struct decoder *decoder, const struct peer *peer,
                    int fd, uint32_t *ret_connection, struct error *err) _must_check_;
struct session *session_of(struct daemon *daemon, const struct decoder *decoder,
                           uint32_t connection);
/* The decoder is gone, but perhaps not its callers: what has started goes on. */
void session_lost_all(struct daemon *daemon, const struct decoder *decoder);
void session_free(struct session *session);
uint64_t session_id(const struct session *session);
/* List of the sandboxes that it has started and waits for: sandbox.c's. */
struct sandbox **session_sandboxes(struct session *session);
/* The session of that id, or NULL when it is gone. */
struct session *session_find(struct daemon *daemon, uint64_t id);
/* What came by it: a whole call and its fds. */
void session_call(struct session *session, const char *text, struct fd_list *fds);
/* Its peer is gone: ends what it waits for, frees it. */
void session_gone(struct session *session);
/* The daemon of a session that is still there, and its sandboxes' owner. */
struct daemon *session_daemon(struct session *session);
/* Sends a reply; consumes parameters. continues: more will follow. session may be NULL: gone.
 */
void session_reply(struct session *session, json_t *take_parameters, bool continues);
/* Without a reply: who died on the way cannot give one. */
void session_hang_up(struct session *session);
/* The last reply, with an fd (borrowed). */
void session_reply_fd(struct session *session, json_t *take_parameters, int fd);
/* An error that is not one of io.isolate. */
void session_error(struct session *session, const char *name, json_t *take_parameters);
void session_fail(struct session *session, const struct error *err);
/* What that sends; NULL: out of memory. */
json_t *session_error_message(const struct error *err);
/* In a fork: replies go there from now on. */
void session_redirect(struct session *session, int fd);
/* The caller gets all that comes from fd (borrowed), and that is the whole reply. */
void session_stream(struct session *session, int fd);
/* A call is being worked on, and no other is read until it has been answered. */
void session_set_busy(struct session *session, bool busy);
