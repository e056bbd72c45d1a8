/* SPDX-License-Identifier: Apache-2.0 */
/* The inside of the pool, for the methods that show and set it. */
#pragma once

#include "daemon/body.h"

#define BACKLOG_MAX 64
#define QUIET_US    8000 /* without a start, before the pool is filled */

/* A parked sandbox, or a fresh clone, or one that is being built. */
struct member {
    struct member *next;
    struct shape *shape; /* NULL: dropped while the builder had it */
    struct body body;
    int root_fd; /* of a template that is a directory, until it is built; else -EBADF */
    bool built;
    bool ready;
    sd_event_source *park_io; /* not of a fresh clone */
};

/* What must be known before a sandbox can be parked, and those that are. */
struct shape {
    struct daemon *daemon;
    struct shape *next;
    char template_name[NAME_TEMPLATE_MAX + 1]; /* "": directories that callers name */
    char storage[STORAGE_NAME_SIZE];           /* DRIVER[:LOCATION] */
    bool host_network;
    const struct engine *engine;

    struct member *members;
    unsigned n_ready;
    unsigned n_building;
    struct member *fresh; /* clones that nothing has been started in, ready or not */
    unsigned n_fresh;     /* that are ready */
    unsigned wanted;      /* by demand */
    int fixed;            /* by the administrator; -1: by demand */
    unsigned least_ready; /* since the last look */
    uint64_t looked_us;   /* monotonic, all of them */
    uint64_t used_us;
    uint64_t blocked_until_us; /* after a failure */
    uint64_t retry_us;
    char problem[256]; /* why it is blocked; "" : it is not */
    bool gone;         /* there is no such template any more, until somebody asks for it */
    uid_t
        last_uid; /* who claimed last, how often in a row, and when that began after another */
    unsigned in_a_row;
    uint64_t other_us;
    uint64_t claims;
    uint64_t misses;
    sd_event_source *timer;
};

struct shape *pool_shape_add(struct daemon *daemon, const char *template_name,
                             const char *storage, bool host_network,
                             const struct engine *engine);
/* NULL: there is none. */
struct shape *pool_shape_find(const struct daemon *daemon, const char *template_name,
                              bool host_network, const struct engine *engine);
/* The member is the caller's from then on. */
void pool_shape_unlink(struct shape *shape, struct member *member);
/* Makes what is missing: now, or in some microseconds. */
void pool_shape_refill(struct shape *shape);
void pool_shape_refill_in(struct shape *shape, uint64_t us);
/* How many are to be parked. */
unsigned pool_shape_wanted(const struct shape *shape);
/* -1: as many as are needed. */
void pool_shape_set(struct shape *shape, int fixed);
/* Takes away what is parked; new ones are made. */
void pool_shape_drop_members(struct shape *shape);
/* Building failed: the next try is later, and later each time. */
void pool_shape_failed(struct shape *shape, const char *why);
/* The same of a builder's answer; where the template is gone, there is no next try. */
void pool_shape_not_built(struct shape *shape, int result, const struct error *err);

/* Whether its members have no root until they are claimed. */
bool pool_shape_is_rootless(const struct shape *shape);

/* pool_member.c: one that is to be built for the shape, with all that its record says but what
 * building adds; NULL with err set. */
struct member *member_new(struct shape *shape, const char *state,
                          struct error *err) _must_check_;
/* Ends it, and takes it away with all that it has. */
void member_end(struct member *member);

/* pool_fresh.c: makes as many as are missing. */
void fresh_refill(struct shape *shape);
/* Whether one is ready for the body. */
bool fresh_has(const struct shape *shape, const struct body *body);
/* Gives the id, ids and clone of a fresh one to a body that has none; if there is one. */
void fresh_take(struct shape *shape, struct body *body);
/* Whether its generation is the template's current one. */
bool fresh_is_current(struct body *body);
/* Takes over a fresh one of the current generation; else false. */
bool fresh_adopt(struct shape *shape, struct body *body);
/* Takes away what is too many, or all. */
void fresh_trim(struct shape *shape);
void fresh_drop(struct shape *shape);
