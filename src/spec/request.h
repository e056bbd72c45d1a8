/* SPDX-License-Identifier: Apache-2.0 */
/* The request of one run, engine-neutral: what io.isolate.Run carries, decoded and validated.
 * The sender is untrusted: every value is checked for type, size and range here; what needs the
 * sandbox (does the user exist? can the target be made?) is checked where it is done. */
#pragma once

#include "base/error.h"
#include "spec/display.h"
#include "spec/limits.h"
#include "spec/names.h"
#include "spec/network.h"
#include "spec/seccomp.h"
#include "spec/start.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct run_bind {
    uint32_t fd; /* index of the fd in the message */
    char *target;
    char *source; /* as the caller wrote it, for messages and for a kept sandbox's next start */
    bool read_only;
    bool recursive;
    bool device;  /* a character device, for the sandbox's /dev */
    bool connect; /* a socket, to which the command's user is to be able to connect */
};

struct run_tmpfs {
    char *target;
    uint64_t size_bytes;
};

struct run_request {
    char *client; /* version of the client */
    /* one of these five says what to clone */
    char *template_name;
    char *generation; /* with template_name: not the current one */
    char *root;       /* a directory's path, as the caller wrote it; root_fd is its fd */
    uint32_t root_fd;
    bool host;     /* @host: root_fd is the machine's root */
    char *kept;    /* id or name of a kept sandbox */
    char *sandbox; /* id or name of one that runs: one more command in it */

    char *storage;
    char *engine;
    char *name;
    bool keep;       /* the clone stays after the end */
    bool detach;     /* no client: output goes into a log */
    bool stdin_open; /* detached: stdin waits for who attaches */
    bool pre_hook;   /* before it is built, its caller's hook is waited for: Continue */
    bool post_hook;  /* the clone stays after the end for its caller's hook: Release */
    bool usage;      /* what it uses is to be counted, where it can be */
    bool hold;       /* the clone stays until the connection ends: for Commit */

    char **argv; /* NULL-terminated; may be empty */
    uint32_t n_argv;
    char *entrypoint; /* in place of the template's; "": none. NULL: the template's */
    bool boot;        /* no command: the template's own init */
    char **env;       /* NAME=VALUE, NULL-terminated */
    uint32_t n_env;
    uint32_t first_id; /* root only: host id of the sandbox's 0; 0: isolated's choice */
    char *user;        /* NAME, UID, NAME:GROUP, UID:GID; NULL: 0:0 */
    char *workdir;     /* absolute, or NULL */
    char *hostname;    /* or NULL */
    char *owner;       /* root only: whose files the binds' files become; NULL: the caller */
    bool here;         /* run as the owner's uid with a passwd entry */
    bool host_network; /* of network: it is the machine's */
    bool own_network;  /* of network: none, which was asked for, not only the default */
    bool read_only;
    bool tty;
    uint64_t timeout_ms;
    uint64_t cpu_time_ms;
    struct run_limits limits;
    struct rlimit_wishes ulimits;
    struct run_seccomp seccomp;
    uint64_t capabilities;       /* default, added and dropped already worked out */
    uint64_t capabilities_added; /* those of them that were asked for by name */

    struct run_bind *binds;
    uint32_t n_binds;
    struct run_tmpfs *tmpfs;
    uint32_t n_tmpfs;

    struct run_display display;

    uint64_t length;  /* of all this as it came */
    uint32_t control; /* index of the control socket's fd */
    struct network network;
};

#define _cleanup_run_request_ _cleanup_(run_request_clear)

/* Decodes the parameters of Run. n_fds is how many fds came with the message: all indexes are
 * checked against it. An unknown member is an error: nothing that is asked for is ignored. */
int run_request_decode(const json_t *parameters, size_t n_fds, struct run_request *ret,
                       struct error *err) _must_check_;

/* request_check.c: whether the members go together; part of run_request_decode. */
int run_request_check(const struct run_request *request, struct error *err) _must_check_;

/* Whether each fd of the message is named by a member; part of run_request_decode, too. */
int run_request_check_fds(const bool *named, size_t n_fds, struct error *err) _must_check_;

/* request_limits.c: the member called name, which is one of the limits. */
int run_limits_decode(const char *name, const json_t *value, struct run_limits *limits,
                      struct error *err) _must_check_;
/* The same of ulimits, a list of what rlimit_parse reads. */
int run_ulimits_decode(const json_t *value, struct rlimit_wishes *ulimits,
                       struct error *err) _must_check_;

/* The same of a request that is only asked about: it has no control socket. */
int run_request_decode_asked(const json_t *parameters, size_t n_fds, struct run_request *ret,
                             struct error *err) _must_check_;

/* The name of the i-th member that a request may have; NULL behind the last. */
const char *run_request_member(size_t i);

void run_request_clear(struct run_request *request);
