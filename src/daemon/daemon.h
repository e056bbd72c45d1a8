/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's state and its parts. It runs as root in the host's mount namespace, one thread,
 * one event loop; a one-shot waits for nothing but its own sandbox and client. */
#pragma once

#include "base/error.h"
#include "spec/config.h"
#include "spec/request.h"
#include "storage/storage.h"
#include "varlink/varlink.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>
#include <systemd/sd-event.h>

struct sandbox;
struct session;
struct worker;

struct daemon {
    struct config config;
    const char *config_file; /* NULL: the installed one */
    const char *libexec;     /* directory of isolate-init and isolate-image */
    sd_event *event;
    int state_fd;  /* StateDirectory, O_PATH */
    int run_fd;    /* RuntimeDirectory, O_PATH */
    int cgroup_fd; /* the parent of all leaves, O_PATH */
    int init_fd;   /* isolate-init in its sealed memfd */
    char boot_id[40];
    struct sandbox *sandboxes; /* list of this process's own */
    struct session *session;   /* the one client of --oneshot; NULL when it is gone */
    struct worker *workers;    /* image workers that run */
};

/* state.c: opens (making them, and a tmpfs where needed) the directories, the cgroup parent and
 * init. On failure everything opened so far is closed by daemon_close. */
int daemon_open(struct daemon *daemon, struct error *err) _must_check_;
void daemon_close(struct daemon *daemon);

/* ids.c: id ranges, one file each in RuntimeDirectory/ids naming its sandbox. */
int ids_allocate(struct daemon *daemon, const char *sandbox, uint32_t *ret_first_id,
                 struct error *err) _must_check_;
/* Marks a range as that of a kept sandbox. 0 also where it is its own already. */
int ids_reserve(struct daemon *daemon, const char *sandbox, uint32_t first_id,
                struct error *err) _must_check_;
/* Gives the range back if it is still the sandbox's. */
void ids_free(struct daemon *daemon, const char *sandbox, uint32_t first_id);

/* record.c: one locked record per clone in RuntimeDirectory/sandboxes, see there. */
struct record {
    char id[CLONE_NAME_SIZE];
    char name[NAME_TEMPLATE_MAX + 1]; /* "" : none */
    char state[16];                   /* building, running, stopping, kept, destroying */
    char storage[32];
    char engine[16];
    char template_name[NAME_TEMPLATE_MAX + 1]; /* "" : a one-off root */
    char generation[GENERATION_SIZE];
    char *root; /* path of a one-off root, or NULL */
    uint32_t first_id;
    uint32_t owner_uid;
    uint64_t created_us; /* wall clock, since 1970 */
    json_t *request;     /* parameters of its Run, for `start`; or NULL */
    bool open_elsewhere; /* when it ended, a file of it was open for writing outside of it */
    json_t *provided;    /* [{path, content}] that isolate wrote into the clone; or NULL */
};
void record_clear(struct record *record);
#define _cleanup_record_ _cleanup_(record_clear)

/* Writes the record; *lock_fd (or -EBADF) is replaced by the lock of the new file. */
int record_write(int dir_fd, const struct record *record, int *lock_fd,
                 struct error *err) _must_check_;
int record_read(int dir_fd, const char *id, struct record *ret, struct error *err) _must_check_;
/* The same for whoever only wants to take it all away: of a damaged record (1) at least the id,
 * and the storage that most have. */
int record_read_damaged(int dir_fd, const char *id, struct record *ret) _must_check_;
/* Takes the lock of a record that nobody holds: fd, -EBUSY where its owner lives, -ENOENT. */
int record_lock(int dir_fd, const char *id) _must_check_;
/* The lock of a kept sandbox that does not run, in StateDirectory/kept. Waits up to 2 seconds
 * for a command that is just ending. fd, or -errno with err set. */
int record_lock_kept(struct daemon *daemon, const char *id, struct error *err) _must_check_;
/* Removes what writers that were killed left half-written. */
void record_sweep(int dir_fd);
void record_remove(int dir_fd, const char *id);
/* Calls each for every record of dir_fd. */
int record_for_each(int dir_fd, int (*each)(void *data, const char *id),
                    void *data) _must_check_;
/* The id of the record whose id or name is `wanted`: 1 found, 0 not, -errno. */
int record_find(int dir_fd, const char *wanted,
                char ret_id[static CLONE_NAME_SIZE]) _must_check_;
json_t *record_to_json(const struct record *record);
/* The directories of both kinds. */
int records_running(struct daemon *daemon, struct error *err) _must_check_; /* fd */
int records_kept(struct daemon *daemon, struct error *err) _must_check_;    /* fd */

/* recover.c: finishes what killed processes left. Never touches a record whose lock is held. */
int recover_all(struct daemon *daemon, struct error *err) _must_check_;
/* The same, with sandboxes that go on without their one-shot, and with everything else that has
 * no record: clones, cgroups, id ranges, layers. */
int recover_sweep(struct daemon *daemon, struct error *err) _must_check_;
/* Destroys one clone for good, in the order of DESIGN.md section 4. The record's lock is held.
 */
int recover_destroy(struct daemon *daemon, const struct record *record,
                    struct error *err) _must_check_;
/* What is left over although nobody owns it, as JSON [{what, remedy}]. */
json_t *recover_leftovers(struct daemon *daemon);

/* generations.c: superseded generations that nothing uses go, KeepGenerations of them excepted.
 */
int generations_retire(struct daemon *daemon, struct storage *storage,
                       const char *template_name, struct error *err) _must_check_;

/* worker.c: isolate-image in namespaces and a cgroup of its own; done is called with 0 or
 * -errno and what it said. output: what it wrote to stdout. */
typedef void (*worker_done)(void *data, int result, const char *output, struct error *err);
struct worker_request {
    const char *argv[6]; /* NULL-terminated, without the program; "@0" names fds[0], "@1"… */
    int fds[2];          /* borrowed; -EBADF: none */
    int stderr_fd;       /* where progress goes; -EBADF: nowhere */
    worker_done done;
    void *data;
};
int worker_start(struct daemon *daemon, const struct worker_request *request,
                 struct error *err) _must_check_;
/* Their client is gone: kills them; `done` is called as always. */
void worker_abandon_all(struct daemon *daemon);

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
/* Removes those whose holder was killed; true if there were any. */
bool named_locks_sweep(struct daemon *daemon);

/* provide.c: what the host provides to a run: resolv.conf, hosts, localtime. */
json_t *provide_files(const char *hostname, bool host_network);
/* Borrowed view of such a list; at most START_FILES entries. */
size_t provide_view(const json_t *list, struct provided_file *items, size_t max);

/* session.c: one connection. */
struct peer {
    uid_t uid;
    gid_t gid;
    gid_t groups[START_GROUPS];
    size_t n_groups;
};
struct call {
    struct session *session;
    const char *method;
    json_t *parameters;  /* borrowed during the handler */
    struct fd_list *fds; /* of this message; a handler takes what it keeps by TAKE_FD */
    bool more;
    const struct peer *peer;
};
int session_new(struct daemon *daemon, int take_fd, struct error *err) _must_check_;
void session_free(struct session *session);
/* The daemon of a session that is still there, and its sandboxes' owner. */
struct daemon *session_daemon(struct session *session);
/* Sends a reply; consumes parameters. continues: more will follow. session may be NULL: gone.
 */
void session_reply(struct session *session, json_t *take_parameters, bool continues);
void session_fail(struct session *session, const struct error *err);
/* A call is being worked on, and no other is read until it has been answered. */
void session_set_busy(struct session *session, bool busy);

/* sandbox.c: the life of one sandbox. */
int sandbox_run(struct call *call, struct error *err) _must_check_;
/* Its connection is gone: end it. */
void sandbox_abandon_all(struct daemon *daemon);
struct sandbox *sandbox_find_held(struct daemon *daemon, const char *id);
/* Destroys a held sandbox (or one that ended) now. */
void sandbox_release(struct sandbox *sandbox);
const struct record *sandbox_record(const struct sandbox *sandbox);

/* methods.c: the table of methods. */
int methods_dispatch(struct call *call, struct error *err) _must_check_;
