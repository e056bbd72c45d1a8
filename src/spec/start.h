/* SPDX-License-Identifier: Apache-2.0 */
/* The start: the late part of a run, as isolated hands it to init, flat in a sealed memfd. All
 * values were validated by isolated; init checks bounds again and trusts the meaning. Strings
 * are bytes without NUL. One encoder and one decoder walk the same list of fields. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "spec/display_path.h"
#include "spec/rlimits.h"

#include <stdbool.h>
#include <stdint.h>

#define START_MAX     (8U << 20) /* bytes of an encoded start */
#define START_GROUPS  64         /* supplementary groups */
#define START_BINDS   128
#define START_TMPFS   64
#define START_FILES   8
#define START_PRIVATE DISPLAY_FILES
#define START_STRINGS 65536 /* arguments, variables: each */

#define START_ENGINE_FILES 2

#define START_TTY          (1U << 0) /* a pty of the sandbox's own devpts is stdio */
#define START_READ_ONLY    (1U << 1) /* the root is read-only for the command */
#define START_PASSWD_ENTRY (1U << 2) /* give uid a passwd entry and a home if it has none */
#define START_USER_BY_NAME (1U << 3) /* groups come from the sandbox's own group file */
#define START_SHELL_LOGIN  (1U << 4) /* no command: the user's shell, as a login shell */
#define START_SCOPED       (1U << 5) /* shut off abstract sockets made outside (host network) */
#define START_DETACHED     (1U << 6) /* no client: output goes into the log */
#define START_STDIN_OPEN   (1U << 7) /* detached: stdin waits for who attaches */
#define START_SAME_USER    (1U << 8) /* EXEC: uid, gid and capabilities are the command's */
#define START_USER_TEXT    (1U << 9) /* EXEC: user is what -u says, for init to resolve */
#define START_PREPARED     (1U << 10) /* filter and capabilities are those of PREPARE */
#define START_UNCONFINED   (1U << 11) /* no filter, all capabilities: the engine isolates not */
#define START_NESTED       (1U << 13) /* it may make namespaces: give it what these need */
#define START_BOOT         (1U << 12) /* no command: the root's own init, as process 1 */

struct start_bind {
    const char *target; /* absolute, normalised */
    uint32_t is_directory;
    uint32_t read_only; /* information only: the mount carries its attributes */
};

struct start_tmpfs {
    const char *target;
    uint64_t size_bytes; /* 0: the kernel's default, half of memory */
};

/* A file of the clone that the host provides: resolv.conf, hosts, localtime. */
struct start_file {
    const char *path; /* absolute; its directory is left alone when missing */
    const char *content;
    uint32_t is_symlink; /* content is the target, made only where /TARGET exists */
};

/* A file of the private directory, with a secret: for the command's user alone. */
struct start_private {
    const char *name; /* one component */
    const char *hex;  /* its content: two lower-case digits a byte */
};

/* A foreign engine: what init executes, and finds for it (spec/message.h). */
#define START_ENGINE_SYSTEM    (1U << 1) /* needs a sysfs and the cgroup's own cgroup2 */
#define START_ENGINE_LISTEN    (1U << 2) /* hands on what LISTEN_FDS says */
/* gets a root without /dev; the whole is at ENGINE_VIEW */
#define START_ENGINE_VIEW      (1U << 3)
/* mounts anew what it gets: finds all that mounts take away locked */
#define START_ENGINE_LOCKED    (1U << 4)
/* makes things of its own in what is at /dev */
#define START_ENGINE_FILLS_DEV (1U << 5)
/* listens at an abstract socket: has a network namespace of its own */
#define START_ENGINE_APART     (1U << 6)
/* puts its sandbox into LXC_PROFILE */
#define START_ENGINE_PROFILE   (1U << 7)

struct start_engine {
    uint32_t flags;
    uint32_t n_argv; /* 0: no foreign engine */
    const char **argv;
    uint32_t n_env;
    const char **env; /* the engine's own */
    uint32_t n_files; /* absolute paths in the engine's own root, in directories of it */
    struct start_file files[START_ENGINE_FILES];
};

struct start {
    uint32_t flags;
    uint32_t uid;
    uint32_t gid;
    uint32_t umask;
    uint64_t capabilities;        /* of uid 0; any other uid has none */
    uint64_t timeout_ms;          /* 0: none */
    uint64_t cpu_time_ms;         /* 0: none; of all processes together */
    uint32_t n_cpus;              /* of the machine: how fast it can be used up */
    struct rlimit_wishes ulimits; /* of each command; EXEC: the sandbox's */
    const char *hostname;
    const char *workdir; /* "" means HOME where it exists, else / */
    const char *user;    /* the name for a passwd entry, or "" */
    uint32_t n_groups;
    uint32_t groups[START_GROUPS];
    uint32_t n_argv;
    const char **argv; /* NULL-terminated; n_argv 0 means the user's shell */
    uint32_t n_env;
    const char **env; /* NULL-terminated */
    uint32_t n_binds;
    struct start_bind binds[START_BINDS];
    uint32_t n_tmpfs;
    struct start_tmpfs tmpfs[START_TMPFS];
    uint32_t n_files;
    struct start_file files[START_FILES];
    const char *private_directory; /* /run/user/NAME, made for the command's user; "": none */
    uint32_t n_private;
    struct start_private private_files[START_PRIVATE];
    struct start_engine engine;
};

/* Appends the encoding of start to ret. -E2BIG beyond START_MAX. */
int start_encode(const struct start *start, struct buffer *ret, struct error *err) _must_check_;

/* Decodes. The strings of *ret point into data, which must stay; the arrays of
 * argv are allocated and freed with start_clear. -EPROTO on anything that the encoder does not
 * write. */
int start_decode(const void *data, size_t length, struct start *ret,
                 struct error *err) _must_check_;

void start_clear(struct start *start);

/* Mounts are made in the order of how deep their targets lie: 1 is right below the root. */
unsigned start_depth(const char *target);
