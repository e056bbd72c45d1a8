/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of a sandbox's life, shared by the files that implement its parts. */
#pragma once

#include "daemon/run_plan.h"
#include "engine/engine.h"

#include <sys/resource.h>

/* What init is expected to say next. */
enum sandbox_state {
    SANDBOX_BUILDING, /* READY */
    SANDBOX_LOOKUP,   /* USER */
    SANDBOX_STARTING, /* STARTED */
    SANDBOX_RUNNING,  /* nothing: the end of its process */
    SANDBOX_ENDED,    /* its clone is held for Commit */
};

struct sandbox {
    struct daemon *daemon;
    struct session *session; /* who asked and waits; NULL when gone */
    struct sandbox *next;
    enum sandbox_state state;

    struct run_request request;
    struct record record;
    int lock_fd;      /* of the record in RuntimeDirectory */
    int kept_lock_fd; /* of the record in StateDirectory/kept; with --keep and `start` */
    bool kept;        /* its clone stays when it ends */
    bool restarted;   /* `start` of a kept one: a failure leaves the clone alone */
    bool has_ids;
    bool stays; /* its processes do not end: everything is left to a later recovery */
    struct named_lock update; /* with hold: nobody else updates this template meanwhile */

    struct peer owner; /* whose files the binds' files are */
    struct storage storage;
    const struct engine *engine;
    struct engine_instance instance;
    int cgroup_fd; /* the leaf */
    int root_fd;   /* its root as a mount, until all its processes are dead */
    struct run_plan plan;
    struct fd_list fds; /* of the request */

    sd_event_source *park_io;
    sd_event_source *pid_io;
    sd_event_source *timer; /* backs up init's own clock */
    struct error failure;   /* code ERROR_NONE: none */
    struct rusage usage;
    uint64_t started_us;    /* monotonic */
    uint64_t started_at_us; /* since 1970 */
    uint64_t ended_us;
};

/* sandbox_build.c: record, ids, cgroup, clone, namespaces and root, up to the message BUILD. */
int sandbox_build(struct sandbox *sandbox, struct error *err) _must_check_;
/* The name, id and template of a new sandbox, or what the record of a kept one says. */
int sandbox_identify(struct sandbox *sandbox, struct error *err) _must_check_;
/* Takes everything apart, in the order of DESIGN.md section 4, first the processes, then (where
 * nothing keeps it) the clone. Continues after a failure and logs it: what stays is found by
 * the next recovery, because its record stays too. */
void sandbox_end_processes(struct sandbox *sandbox);
void sandbox_destroy_clone(struct sandbox *sandbox);
void sandbox_free(struct sandbox *sandbox);
