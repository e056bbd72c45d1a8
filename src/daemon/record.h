/* SPDX-License-Identifier: Apache-2.0 */
/* Records of sandboxes: who owns what, on disk, so that whoever comes after a crash finds it.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "storage/storage.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct daemon;

/* record.c: one locked record per clone in RuntimeDirectory/sandboxes, see there. */
struct record {
    char id[CLONE_NAME_SIZE];
    char name[NAME_TEMPLATE_MAX + 1]; /* "" : none */
    char state[16]; /* cloning, fresh, parked; building, running, kept, destroying, quarantined
                     */
    char storage[STORAGE_NAME_SIZE]; /* DRIVER[:LOCATION] */
    char engine[16];
    char template_name[NAME_TEMPLATE_MAX + 1]; /* "" : a one-off root */
    char generation[GENERATION_SIZE];
    char *root; /* path of a one-off root, or NULL */
    uint32_t first_id;
    bool shares_ids;     /* with all sandboxes of its template */
    uint64_t disk_bytes; /* the limit of its clone; 0: none */
    uint32_t owner_uid;
    uint64_t created_us; /* wall clock, since 1970 */
    uint64_t started_us; /* of its last start; 0: none yet */
    struct record_clocks {
        uint64_t started_us; /* monotonic */
        uint64_t timeout_ms; /* 0: none, as policy has it */
        uint64_t cpu_time_ms;
        uint64_t request_length; /* bytes, for the quota */
    } clocks;                    /* of one that runs, for whoever adopts it */
    json_t *request;             /* parameters of its Run, for `start`; or NULL */
    bool open_elsewhere; /* when it ended, a file of it was open for writing outside of it */
    json_t *defaults;    /* what its template says of commands (spec/defaults.h), or NULL */
    json_t *provided;    /* [{path, content}] that isolate wrote into the clone; or NULL */
};
void record_clear(struct record *record);
#define _cleanup_record_ _cleanup_(record_clear)

/* Writes the record; *lock_fd (or -EBADF) is replaced by the lock of the new file, also where
 * all that failed is that this survives a power cut: whoever gives up removes it. */
int record_write(int dir_fd, const struct record *record, int *lock_fd,
                 struct error *err) _must_check_;
int record_read(int dir_fd, const char *id, struct record *ret, struct error *err) _must_check_;
/* The same without its request, defaults and provided: for whoever looks through many of them,
 * on the event loop. Never to be written. */
int record_read_head(int dir_fd, const char *id, struct record *ret,
                     struct error *err) _must_check_;
/* The same for whoever only wants to take it all away: of a damaged record (1) its head, or at
 * least the id, and the storage that most have. One that cannot be read for want of memory or
 * fds is not damaged: its clone and ids are where it says. */
int record_read_damaged(int dir_fd, const char *id, struct record *ret,
                        struct error *err) _must_check_;
/* Takes the lock of a record that nobody holds: fd, -EBUSY where its owner lives, -ENOENT. */
int record_lock(int dir_fd, const char *id) _must_check_;
/* The lock of a kept sandbox that does not run, in StateDirectory/kept. Waits up to wait_ms for
 * a command that is just ending. fd, or -errno with err set. */
int record_lock_kept(struct daemon *daemon, const char *id, int wait_ms,
                     struct error *err) _must_check_;
/* Removes what writers that were killed left half-written. */
void record_sweep(int dir_fd);
/* 0 also where there is none. What stays, unlocked, is the next recovery's. */
int record_remove(int dir_fd, const char *id) _must_check_;
/* Calls each for every record of dir_fd. */
int record_for_each(int dir_fd, int (*each)(void *data, const char *id),
                    void *data) _must_check_;
/* The id of the record whose id or name is `wanted`, of those that `viewer` may see: its own,
 * and for root all, where a name of its own goes before another's. 1 found, 0 not, -errno. */
int record_find(int dir_fd, const char *wanted, uint32_t viewer,
                char ret_id[static CLONE_NAME_SIZE]) _must_check_;
/* Whether the owner has a record of that name: 1 and its id, 0, -errno. */
int record_find_name(int dir_fd, const char *name, uint32_t owner,
                     char ret_id[static CLONE_NAME_SIZE]) _must_check_;
/* Appends what its file has. */
int record_print(const struct record *record, struct buffer *ret) _must_check_;
json_t *record_to_json(const struct record *record);
/* -EINVAL where it is damaged; ret is then to be cleared. */
int record_from_json(const json_t *value, struct record *ret) _must_check_;
/* The directories of both kinds. */
int records_running(struct daemon *daemon, struct error *err) _must_check_; /* fd */
int records_kept(struct daemon *daemon, struct error *err) _must_check_;    /* fd */
