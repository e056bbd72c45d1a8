/* SPDX-License-Identifier: Apache-2.0 */
/* The body of a sandbox: everything of it that is made and taken apart (record, id range,
 * clone, cgroup, namespaces, root), without its caller. It is built ahead of time where it can
 * be, and passes between isolated's processes, its lock included: see builder.h. */
#pragma once

#include "daemon/daemon.h"
#include "engine/engine.h"

#include <sys/resource.h>

struct body {
    struct daemon *daemon;
    struct record record;
    int lock_fd;       /* of the record in RuntimeDirectory */
    int kept_lock_fd;  /* of the record in StateDirectory/kept; with --keep and `start` */
    bool kept;         /* its clone stays when it ends */
    bool restarted;    /* `start` of a kept one: a failure leaves the clone alone */
    bool durable;      /* the clone survives a power cut */
    bool host_network; /* no network namespace of its own */
    bool rootless;     /* its root is a place holder: the directory is its claim's */
    bool has_ids;
    bool cloned;  /* its clone is made, and nothing has been started in it */
    bool views;   /* its owner's hooks are shown the clone, where the storage can */
    bool viewed;  /* they have been, before it was built: it is limited already */
    bool hangs;   /* its processes had their time to end */
    bool lingers; /* its files take long to remove */
    bool stays;   /* its processes do not end: everything is left to a later recovery */
    struct storage storage;
    const struct engine *engine;
    struct engine_instance instance;
    int cgroup_fd; /* the leaf */
    int root_fd;   /* its root as a mount, until all its processes are dead */
    int view_fd;   /* what they see, until it is built or destroyed */
    uint32_t owner_gid;
    json_t
        *prepared; /* the files that its init has written already; NULL: it is not prepared */
    struct rusage usage;
};

/* Everything closed, nothing owned. */
void body_init(struct body *body, struct daemon *daemon);
/* Closes what is open; what was made stays as it is. */
void body_clear(struct body *body);
/* *to, which owns nothing, gets all of *from. */
void body_move(struct body *to, struct body *from);

/* What its template, which its storage keeps, says of commands: into its record. */
int body_take_defaults(struct body *body, struct error *err) _must_check_;
/* A new id, TEMPLATE_<nanoseconds>. */
void body_name(struct body *body, const char *base);
/* Whether its owner may have another sandbox of its name; 0 also where it has none. */
int body_check_name(const struct body *body, struct error *err) _must_check_;
/* 1 where all sandboxes of its template have one range of ids, because its storage cannot be
 * id-mapped: *ret_first_id, 0 where none is chosen yet. */
int body_shares_ids(struct body *body, uint32_t *ret_first_id, struct error *err) _must_check_;
/* The record as a file, and its lock. A name that its owner uses already is -EEXIST. */
int body_publish(struct body *body, struct error *err) _must_check_;
/* Ids, record and clone only: what is then left alone is fresh, and its record says so until it
 * is built. one_off_root as below. */
int body_clone(struct body *body, int one_off_root, struct error *err) _must_check_;
/* Record, ids and clone, and view_fd: what a hook of its owner's may change before anything is
 * built in it. Without STORAGE_VIEWS there is no view_fd. Fails as body_build does. */
int body_view(struct body *body, int one_off_root, struct error *err) _must_check_;
/* body_end.c: view_fd, where it is wanted and the storage can. one_off_root as below. */
int body_open_view(struct body *body, int one_off_root, struct error *err) _must_check_;
/* body_end.c: what its owner sees is not to change any more: they may have kept its fd. -EBUSY
 * where that cannot be had. */
int body_close_view(struct body *body) _must_check_;
/* Record, ids, clone (unless it is cloned), cgroup, namespaces and root, up to the message
 * BUILD. one_off_root: of a template that is a directory, else -EBADF. What was made before a
 * failure is taken apart by body_end and body_destroy. */
int body_build(struct body *body, int one_off_root, struct error *err) _must_check_;
/* Gives one that is rootless its root, which is the caller's directory: root_fd, borrowed. Does
 * not wait for a file system. */
int body_enter(struct body *body, const char *root_path, int root_fd,
               struct error *err) _must_check_;
/* Kills and reaps pid 1, and with it all processes; does not wait long for one that hangs. */
void body_end(struct body *body);
/* All processes are dead: nothing writes to the clone any more. */
void body_settle(struct body *body);
/* The same, and view_fd for a hook behind the end, where there are hooks. */
void body_settle_for_view(struct body *body);
/* Whether to destroy it, once it is settled, destroys its clone. */
bool body_is_disposable(const struct body *body);
/* The rest, in the order of DESIGN.md section 4; what is kept stays. Continues after a failure
 * and logs it: what stays is quarantined, with its record. 0 or -errno;
 * in the destroyer also 1, where it has so many files that others would wait for it: then it
 * keeps its record's lock and its ids, and is to be destroyed again by a remover (removals.h).
 */
int body_destroy(struct body *body);
