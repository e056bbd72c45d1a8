/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's state and its parts. It runs as root in the host's mount namespace, one thread,
 * one event loop; a one-shot waits for nothing but its own sandbox and client. */
#pragma once

#include "base/error.h"
#include "daemon/record.h"
#include "daemon/session.h"
#include "daemon/worker.h"
#include "spec/config.h"
#include "spec/request.h"
#include "storage/storage.h"
#include "varlink/varlink.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/resource.h>
#include <sys/types.h>
#include <systemd/sd-event.h>
#include <time.h>

struct apart;
struct builder;
struct decoder;
struct drain;
struct ended;
struct sandbox;
struct shape;
struct worker;

struct daemon {
    struct config config;
    const char *config_file; /* NULL: the installed one */
    const char *libexec;     /* directory of isolate-init and isolate-image */
    sd_event *event;

    /* what it works on */
    struct sandbox *sandboxes; /* list of this process's own */
    struct session *sessions;  /* list of connections */
    struct worker *workers;    /* image workers of this process, a fork or a one-shot */
    struct apart *apart;       /* calls in processes of their own */
    struct ended *ended;       /* detached sandboxes that have ended lately */
    struct shape *shapes;      /* what is kept ready */
    struct decoder *decoders;  /* one a uid with connections */
    struct builder *builder;   /* NULL: bodies are made here and now */
    struct builder *destroyer; /* likewise taken away */
    struct drain *drains;      /* what waits for its processes before that */
    struct removals *removals; /* of the destroyer; NULL: files are removed to the end */
    sd_event_source *listen_io;
    sd_event_source *callers_rest; /* see callers.h */
    unsigned n_heard;
    sd_event_source *nursery_io;
    sd_event_source *recover_timer;           /* of the next look for what others left */
    void (*when_idle)(struct daemon *daemon); /* or NULL: see builders_when_idle */
    ino_t templates_seen; /* of templates.changed: the change that the pool knows of */
    uint64_t recover_us;  /* how long it is until that */
    uint64_t hung_ms;     /* when a killed process did not end; 0: never */

    int state_fd;           /* StateDirectory, O_PATH */
    int run_fd;             /* RuntimeDirectory, O_PATH */
    int cgroup_fd;          /* the parent of all leaves, O_PATH */
    int init_fd;            /* isolate-init in its sealed memfd */
    int decoder_program_fd; /* isolate-decoder likewise */
    int listen_fd;
    int resident_lock_fd;
    int range_fd;                    /* of the id range taken last: see ids_settle */
    struct quarantined *quarantined; /* see quarantine.h */
    int nursery_fd; /* socket to the nursery; -EBADF: sandboxes are cloned here */
    int nursery_pidfd;
    pid_t nursery_pid;
    gid_t group;          /* the configured one, whose members may connect */
    uint32_t decoder_ids; /* first of the range that decoders run with */
    uint32_t idle_s;      /* seconds without work */
    struct rlimit files;  /* on open files, as a resident was started: what sandboxes have */
    bool resident;        /* false: --oneshot, gone with its one client */
    bool activated;       /* the service manager made the socket */
    bool has_group;       /* there is the configured group */
    bool stopping;
    unsigned n_finished; /* orders of builders, so far */
    unsigned stop_finished;
    uint64_t stop_end_us;
    char boot_id[40];
};

/* state.c: reads the configuration, unless it has been, opens (making them, and a tmpfs where
 * needed) the directories, the cgroup parent and
 * init. On failure everything opened so far is closed by daemon_close. */
void daemon_init(struct daemon *daemon); /* nothing open; settings from the environment */
int daemon_open(struct daemon *daemon, struct error *err) _must_check_;
/* Opens the cgroup parent again where it was removed since: empty as it was, by the keeper when
 * isolate-sandboxes.service started, or by hand. Then there is nothing in it to lose. */
int daemon_follow_cgroup(struct daemon *daemon, struct error *err) _must_check_;
/* A program of ours in a sealed memfd of mode 0111. */
int daemon_load_program(struct daemon *daemon, const char *name, int *ret_fd,
                        struct error *err) _must_check_;
void daemon_close(struct daemon *daemon);
/* A one-shot that has nothing left to do ends its loop. */
void daemon_maybe_exit(struct daemon *daemon);

/* ids.c: id ranges, one file each in RuntimeDirectory/ids naming its sandbox. */
int ids_allocate(struct daemon *daemon, const char *sandbox, uint32_t *ret_first_id,
                 struct error *err) _must_check_;
/* The range taken last has its record now: whoever finds it without one may free it. */
void ids_settle(struct daemon *daemon);
/* Marks a range as that of a kept sandbox. 0 also where it is its own already. */
int ids_reserve(struct daemon *daemon, const char *sandbox, uint32_t first_id,
                struct error *err) _must_check_;
/* Gives the range back if it is still the sandbox's. 0 also where it is not, or nobody's. */
int ids_free(struct daemon *daemon, const char *sandbox, uint32_t first_id,
             struct error *err) _must_check_;
/* A range for all sandboxes of a template whose storage cannot be id-mapped: the one that it
 * has, or a new one. */
int ids_share(struct daemon *daemon, struct storage *storage, const char *template_name,
              uint32_t *ret_first_id, struct error *err) _must_check_;
/* After a boot: the range that a template had, and those of all templates. */
/* ids_chosen.c: a range that root has chosen; it must be nobody else's, and not of those that
 * ids_allocate gives. */
int ids_choose(struct daemon *daemon, const char *sandbox, uint32_t first_id,
               struct error *err) _must_check_;
/* Whether it could be had now. */
int ids_check_choice(struct daemon *daemon, uint32_t first_id, struct error *err) _must_check_;
int ids_reserve_template(struct daemon *daemon, const char *template_name, uint32_t first_id,
                         struct error *err) _must_check_;
void ids_reserve_shared(struct daemon *daemon);

/* recover.c: finishes what killed processes left. Never touches a record whose lock is held. */
int recover_all(struct daemon *daemon, struct error *err) _must_check_;
/* After a boot nothing of before runs any more: what must be done before the first sandbox. */
int recover_after_boot(struct daemon *daemon, struct error *err) _must_check_;
/* The same, with what does not end although it has not started, and with everything else that
 * has no record: clones, cgroups, id ranges, layers. */
int recover_sweep(struct daemon *daemon, json_t *warnings, struct error *err) _must_check_;
/* What goes wrong with a storage stops nothing else: it is said on stderr, and added to the
 * list (NULL: none). */
void recover_warn(json_t *warnings, const struct error *why);
/* Frees id ranges whose taker died before it had written the record. */
void recover_ranges(struct daemon *daemon);
/* Destroys one clone for good, in the order of DESIGN.md section 4. The record's lock is held.
 * 1 in the destroyer where that takes long: its files are not all removed yet, and it keeps its
 * range (see removals.h). */
int recover_destroy(struct daemon *daemon, const struct record *record,
                    struct error *err) _must_check_;
/* What is left over although nobody owns it, as JSON [{what, remedy}]. */
json_t *recover_leftovers(struct daemon *daemon);

/* generations.c: superseded generations that nothing uses go, KeepGenerations of them excepted.
 */
int generations_retire(struct daemon *daemon, struct storage *storage,
                       const char *template_name, struct error *err) _must_check_;

/* named_lock.c: at most one command at a time does `kind` ("create", "update") with a template.
 * -EBUSY at once where another one does. */
struct named_lock {
    struct daemon *daemon;
    int fd;
    char file[96];
};
int named_lock(struct daemon *daemon, const char *kind, const char *name,
               struct named_lock *ret, struct error *err) _must_check_;
void named_unlock(struct named_lock *lock);
/* Lets the next one take it already: for a fork of the holder, which unlocks later. */
void named_lock_pass_on(const struct named_lock *lock);
/* Removes those whose holder was killed; true if there were any. */
bool named_locks_sweep(struct daemon *daemon);

/* log.c: the output of detached sandboxes, StateDirectory/logs/ID. fd or -errno. */
int log_make(struct daemon *daemon, const char *id, struct error *err) _must_check_;
/* For reading only. */
int log_open(struct daemon *daemon, const char *id) _must_check_;
/* 0 also where there is none. */
int log_remove(struct daemon *daemon, const char *id, struct error *err) _must_check_;

/* provide.c: what the host provides to a run: resolv.conf, hosts, localtime. */
json_t *provide_files(const char *hostname, enum network_mode network);
/* Borrowed view of such a list; at most START_FILES entries. */
size_t provide_view(const json_t *list, struct provided_file *items, size_t max);

/* methods.c: the table of methods. */
int methods_dispatch(struct call *call, struct error *err) _must_check_;
