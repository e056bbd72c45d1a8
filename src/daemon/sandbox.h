/* SPDX-License-Identifier: Apache-2.0 */
/* The life of a sandbox: from the call that asks for it to the last thing of it that is taken
 * away. See sandbox.c. */
#pragma once

#include "daemon/body.h"
#include "daemon/run_plan.h"

/* What init is expected to say next. */
enum sandbox_state {
    SANDBOX_BUILDING,   /* READY */
    SANDBOX_HELD,       /* nothing, there is none yet: its caller's hook runs */
    SANDBOX_NETWORK,    /* nothing: isolate-network is at work */
    SANDBOX_LOOKUP,     /* USER */
    SANDBOX_STARTING,   /* STARTED */
    SANDBOX_RUNNING,    /* nothing: the end of its process */
    SANDBOX_SETTLING,   /* it has ended; its clone is to be held */
    SANDBOX_ENDED,      /* its clone is held, for Commit or its caller's hook */
    SANDBOX_DESTROYING, /* what is left of it is being taken away */
};

struct sandbox {
    struct body body;
    struct sandbox *next;
    struct session *session;         /* who asked and waits; NULL when gone */
    struct sandbox *next_of_session; /* what else that one waits for */
    enum sandbox_state state;
    bool built;  /* the body is ours: the builder has answered */
    bool orphan; /* its caller lost its connection, and may ask again */
    bool let_go; /* the hook before its start is over */
    bool ending; /* killed: waits for the end of its process */

    struct run_request request;
    struct named_lock update; /* with hold: nobody else updates this template meanwhile */
    struct peer owner;        /* whose files the binds' files are */
    struct run_plan *plan;    /* until it is handed to init; NULL before and after */
    struct fd_list fds;       /* of the request */
    int root_fd; /* of a template that templates.d says is a directory; else -EBADF */

    /* policy.h */
    char admitted_for[NAME_TEMPLATE_MAX + 1]; /* the template it was admitted for, or "" */
    uint64_t kept_disk_bytes;                 /* of the kept one that it was admitted for */
    json_t *imposed; /* {a limit's name: "FILE:LINE"} of those that policy has set; or NULL */

    struct sandbox_network *network; /* see network.h; NULL: not asked for */
    struct sandbox_caller *callers;  /* of Exec and Wait */
    unsigned n_execs;                /* that were asked for here, */
    unsigned n_stray;                /* and answers that nobody waits for */
    int exit_kind;                   /* as init tells it; 0: it has not */
    int exit_detail;
    json_t *late; /* what who waits for its end hears when all is taken away; or NULL */
    bool killed;  /* by its owner, init and all: it may not have told */

    sd_event_source *park_io;
    sd_event_source *pid_io;
    sd_event_source *timer;     /* backs up init's own clock */
    sd_event_source *cpu_timer; /* and this the other one */
    uint64_t cpu_end_us;        /* what the cgroup counts to then; 0: it has */
    sd_event_source *tell;      /* its session is still to hear that it has started */
    struct error failure;       /* code ERROR_NONE: none */
    json_t *reply;              /* what its caller is told when all is taken away; or NULL */
    uint64_t started_us;        /* monotonic */
    uint64_t started_at_us;     /* since 1970 */
    uint64_t ended_us;
};

/* sandbox.c */
/* One without a body, in the daemon's list; NULL: out of memory. */
struct sandbox *sandbox_new(struct daemon *daemon);
/* Forgets it; what was made of its body stays. */
void sandbox_free(struct sandbox *sandbox);
/* At the end of isolated: the fds of all that have not started yet. */
void sandbox_close_fds(struct daemon *daemon);
/* Who is told what becomes of it. */
void sandbox_give_session(struct sandbox *sandbox, struct session *session);
/* Init has TERM, 10 seconds and KILL first, when a time is over. */
#define SANDBOX_END_GRACE_MS 15000
/* It has not ended it: kills everything, and that is the kind of its exit. */
void sandbox_time_is_over(struct sandbox *sandbox, int kind);
/* From now on it hears its init and sees the end of it. */
int sandbox_watch(struct sandbox *sandbox, struct error *err) _must_check_;
/* Kills it; the rest follows when its process has ended. */
void sandbox_end(struct sandbox *sandbox);
/* The same, and its caller is told that error. */
void sandbox_end_failed(struct sandbox *sandbox, const struct error *err);
/* Takes a held sandbox (or one that ended) away. */
void sandbox_release(struct sandbox *sandbox);
/* The plan is large, and of no use once init has it. */
void sandbox_drop_plan(struct sandbox *sandbox);
/* Its connection is gone: end what it started. */
void sandbox_abandon(struct session *session);
/* Its connection is gone, but perhaps not its caller: what has not started ends. */
void sandbox_lost(struct session *session);
/* One that has ended and is held for its caller, or NULL. */
struct sandbox *sandbox_find_held(struct daemon *daemon, const char *id);
/* It has ended and is being taken away. */
bool sandbox_is_going(const struct daemon *daemon, const char *id);
/* Whether it is this daemon's, and its command has not started yet. */
bool sandbox_is_coming(const struct daemon *daemon, const char *id);

/* sandbox_run.c: the method Run. */
int sandbox_run(struct call *call, struct error *err) _must_check_;
/* What it refuses before anything is looked for or made: decodes the request, and fills in
 * whose it is. runs: it comes with a control socket, and what it needs is got ready; else it is
 * only asked about, and nothing changes. */
int sandbox_admit(struct sandbox *sandbox, const struct call *call, const json_t *parameters,
                  bool runs, struct error *err) _must_check_;
/* The name that the request gives it. */
void sandbox_take_name(struct sandbox *sandbox);

/* sandbox_explain.c: the method Explain. Makes nothing. */
int method_explain(struct call *call, struct error *err);
/* sandbox_hooks.c: what is between Run and the start of a sandbox whose caller has a hook, and
 * behind its end. The methods name a sandbox that the same connection has started. */
int sandbox_continue(struct call *call, struct error *err) _must_check_;
int sandbox_release_named(struct call *call, struct error *err) _must_check_;
/* Whether the sandbox's storage can serve its hooks. */
int sandbox_check_hooks(struct sandbox *sandbox, struct error *err) _must_check_;
/* It stands still until its caller says Continue, who gets what the hook is shown. */
void sandbox_hold(struct sandbox *sandbox);
/* The same behind its end, until Release or the end of the connection. */
void sandbox_hold_ended(struct sandbox *sandbox);
/* Orders what comes next of building it. */
void sandbox_build(struct sandbox *sandbox);
/* A sandbox that runs already: takes over the body. */
int sandbox_adopt(struct body *body, struct error *err) _must_check_;

/* sandbox_new.c: the name, id and template of a new sandbox, or what the record of a kept one
 * says. */
int sandbox_identify(struct sandbox *sandbox, struct error *err) _must_check_;
/* What the engine cannot do with such a request. */
int sandbox_check_engine(const struct engine *engine, const struct run_request *request,
                         struct error *err) _must_check_;

/* sandbox.c: ends it where its init does not, when its time is over. adopted: it has started
 * under an earlier isolated. */
int sandbox_watch_clocks(struct sandbox *sandbox, bool adopted, struct error *err) _must_check_;

/* sandbox.c: it is told to start: ends it where it does not in time. */
int sandbox_watch_start(struct sandbox *sandbox, struct error *err) _must_check_;

/* sandbox_claim.c: who its command runs as: 0, or 1 where init must be asked, in the sandbox.
 */
int sandbox_user(const struct sandbox *sandbox, uint32_t *ret_uid, uint32_t *ret_gid,
                 struct error *err) _must_check_;
/* Fills sandbox->plan, of which *ret, without its control socket, is a view. Opens the mounts
 * of the binds, and needs no init. */
int sandbox_plan(struct sandbox *sandbox, uint32_t uid, uint32_t gid, struct engine_claim *ret,
                 struct error *err) _must_check_;
/* Its init waits for what it is to be, and is told: at once, or when its network has been made
 * and it has said who the user is that the request names. */
int sandbox_on_ready(struct sandbox *sandbox, struct error *err) _must_check_;
/* Its network is there. */
int sandbox_on_network(struct sandbox *sandbox, struct error *err) _must_check_;
int sandbox_on_user(struct sandbox *sandbox, const struct message *message,
                    struct error *err) _must_check_;

/* sandbox_json.c: what a caller is told of it. */
json_t *sandbox_identity_to_json(const struct sandbox *sandbox, const char *state);
/* With "exit" as {"kind", "code"|"signal"}; lost where init has not said it. */
json_t *sandbox_ended_to_json(const struct sandbox *sandbox);

/* sandbox_ops.c: methods on one that runs, and those who wait for what becomes of them. */
int method_exec(struct call *call, struct error *err);
int method_kill(struct call *call, struct error *err);
int method_wait(struct call *call, struct error *err);
int method_attach(struct call *call, struct error *err);
int method_logs(struct call *call, struct error *err);
/* What init says of an exec. */
int sandbox_on_exec(struct sandbox *sandbox, const struct message *message,
                    struct error *err) _must_check_;
/* Tells who waits; ended: the reply of Run (borrowed), NULL where it failed. It is kept for
 * those who ask within the next minutes. Of one that is late who waits for the end hears
 * nothing yet: */
void sandbox_tell_end(struct sandbox *sandbox, json_t *ended);
void sandbox_tell_late(struct sandbox *sandbox);
void sandbox_forget_ended(struct daemon *daemon);
void sandbox_forget_callers(struct sandbox *sandbox);
