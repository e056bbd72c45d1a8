/* SPDX-License-Identifier: Apache-2.0 */
/* The fixed-size messages of the two private sockets of a sandbox, both SOCK_SEQPACKET.
 *
 * Control socket, client to init: STDIO, SIGNAL, WINSIZE; back: PTY, STARTED, EXITED, OUTPUT.
 *
 * Park socket, isolated to init: BUILD, PREPARE, ROOT, LOOKUP, START, EXEC, ATTACH, SIGNAL;
 * back: READY, USER, STARTED, FAILED, EXITED.
 *
 * All programs of one installation have the same version; a message of another version or size
 * is a protocol error. What init sends is untrusted: sandboxed code may have taken it over. */
#pragma once

#include "base/error.h"
#include "sys/socket.h"

#include <stdint.h>

#define MESSAGE_VERSION 3

enum message_type {
    /* client → init, queued before the other end travels: fds 0, 1 and 2 of the command */
    MESSAGE_STDIO = 1,
    /* client → init: value is a signal number for the command's process group */
    MESSAGE_SIGNAL,
    /* attached client → init: value rows, detail columns of its terminal */
    MESSAGE_WINSIZE,
    /* init → client: one fd, the master of the pty; only with START_TTY */
    MESSAGE_PTY,
    /* init → client and isolated: the command has been executed */
    MESSAGE_STARTED,
    /* init → client and isolated: value is an enum exit_kind, detail the exit code or signal */
    MESSAGE_EXITED,
    /* init → attached client: there is more in the log */
    MESSAGE_OUTPUT,

    /* isolated → init: fds of enum build_fd; flags in value (BUILD_*) */
    MESSAGE_BUILD = 32,
    /* init → isolated: the sandbox is built and waits */
    MESSAGE_READY,
    /* isolated → init: text is a user's name; init → isolated: value uid, detail gid */
    MESSAGE_LOOKUP,
    MESSAGE_USER,
    /* isolated → init, once, while parked: what is likely to be asked for; fds of enum
     * prepare_fd; of the spec only files, hostname, capabilities and engine count. A START with
     * START_PREPARED then needs less time. */
    MESSAGE_PREPARE,
    /* isolated → init: fds of enum start_fd, then one mount for each bind, then cpu.stat */
    MESSAGE_START,
    /* init → isolated: value is an enum error_code, detail an errno, text a sentence */
    MESSAGE_FAILED,
    /* isolated → init, while the command runs: one more; fds spec and control; serial, which
     * STARTED and FAILED name */
    MESSAGE_EXEC,
    /* isolated → init, of a detached sandbox: one more client; one fd, its control socket, with
     * its input queued on it as STDIO. value 1: takes the place of others at stdin */
    MESSAGE_ATTACH,
    /* isolated → init, once, behind the READY of a BUILD with BUILD_ROOT_LATER: one fd, the
     * root as a detached mount; of the flags of BUILD in value those of that root */
    MESSAGE_ROOT,
};

enum exit_kind {
    EXIT_KIND_EXITED = 1,
    EXIT_KIND_SIGNALED,
    EXIT_KIND_TIMEOUT,
    EXIT_KIND_CPU_TIME,
    _EXIT_KINDS,
};

/* "exited", "signaled", "timeout", "cpu_time"; NULL where it is none of them. */
const char *exit_kind_name(int kind);
/* 0: no such name. */
int exit_kind_named(const char *name);
/* What a client exits with. */
int exit_status_of(int kind, int detail);

enum build_fd {
    BUILD_FD_ROOT, /* detached mount of the clone */
    BUILD_FD_NULL, /* detached mounts of the host's device nodes */
    BUILD_FD_ZERO,
    BUILD_FD_FULL,
    BUILD_FD_RANDOM,
    BUILD_FD_URANDOM,
    BUILD_FD_TTY,
    BUILD_FD_LISTEN, /* listening SOCK_SEQPACKET socket, by which isolated comes back after a
                        restart */
    _BUILD_FDS,
    /* behind them, with BUILD_HOST_NETWORK the host's sysfs, read-only, and with BUILD_FOREIGN
     * the host's /usr */
    _BUILD_FDS_MAX = _BUILD_FDS + 2
};

#define BUILD_HOST_NETWORK (1 << 0) /* share the host's network: no lo, no sysfs of its own */
#define BUILD_KEEP_NODES   (1 << 1) /* changes persist: replace nothing that the root has */
#define BUILD_OWN_PAGES    (1 << 2) /* nothing of the root is in the page cache yet */
#define BUILD_APART        (1 << 4) /* that engine gets a network namespace of its own */
/* what is the root by now is a place holder; ROOT comes before LOOKUP and START */
#define BUILD_ROOT_LATER   (1 << 5)
#define BUILD_FOREIGN                                                                          \
    (1 << 3) /* a foreign engine will make a sandbox of it: proc is unmasked */

enum prepare_fd {
    PREPARE_FD_SPEC,
    PREPARE_FD_FILTER,
    _PREPARE_FDS,
    /* with a foreign engine, which is then executed: one more mount of the host's /usr */
    PREPARE_FD_USR = _PREPARE_FDS,
    _PREPARE_FDS_MAX
};

enum start_fd {
    START_FD_SPEC,    /* sealed memfd: spec/start.h */
    START_FD_FILTER,  /* sealed memfd: struct filter_program, one behind the other */
    START_FD_CONTROL, /* the client's control socket; with START_DETACHED the log's file */
    _START_FDS
    /* behind them the mounts, and with a limit of CPU time the cgroup's cpu.stat, to read */
};

/* A foreign engine is executed by init in the sandbox's namespaces, in a root of its own: the
 * host's /usr, proc, the sandbox's /dev, and the sandbox's root as it was built, with its
 * binds, at ENGINE_ROOT. What it makes of that executes ENGINE_INNER, which is init's program
 * once more, as the parent of the command. It gets STDIO by the socket (fds 0 to 2 of the
 * command, the spec and the filters; value is an enum engine_late), and answers with STARTED
 * and a pidfd of the command, or FAILED, and in the end with EXITED. SIGNAL is for all
 * commands. With START_BOOT the first command takes the place of its parent: it is announced
 * before by STARTED with a value, and has no EXITED.
 */
#define ENGINE_STARTED_ANNOUNCED 1
/* What the inner init does before the first command, as the engine was executed before the
 * start was known. */
enum engine_late {
    ENGINE_LATE_NOTHING,
    ENGINE_LATE_MOUNTS, /* it makes what tmpfs there are, and the root read-only */
    ENGINE_LATE_ROOT    /* one more fd: the root with all that is mounted there, detached */
};
#define ENGINE_NAME           "sandbox"
#define ENGINE_ROOT           "/" ENGINE_NAME
#define ENGINE_VIEW           "/view"
#define ENGINE_PINNED_PROC    "/run/host/proc" /* a proc of the pod's, below the view */
#define ENGINE_FILES          "/engine"        /* the directory of its configuration */
/* the pod's network namespace, where the engine has its own */
#define ENGINE_NETWORK        "/engine/net"
#define ENGINE_INNER          "/proc/self/fd/3"
#define ENGINE_INNER_ARGUMENT "--inner"
#define ENGINE_INNER_MASKS    "--mask" /* behind it: the engine leaves it to mask its proc */
/* of AppArmor; in LXC's package: the sandbox's, with START_ENGINE_PROFILE */
#define LXC_PROFILE           "lxc-container-default-cgns"
enum engine_fd {
    ENGINE_FD_INNER = 3, /* O_PATH */
    ENGINE_FD_SOCKET,    /* SOCK_SEQPACKET to init */
    /* sys/filter_walk.h */
    ENGINE_FD_FILTER,
};

struct message {
    uint16_t version;
    uint16_t type;
    int32_t value;
    int32_t detail;
    uint32_t serial; /* of an EXEC; 0: of the command */
    char text[ERROR_TEXT_MAX];
};

/* Sends a message with fds (borrowed). text may be NULL. 0 or -errno; blocks while the socket's
 * queue is full unless it is non-blocking. */
int message_send(int fd, const struct message *message, const int *fds,
                 size_t n_fds) _must_check_;
int message_send_simple(int fd, enum message_type type, int32_t value,
                        int32_t detail) _must_check_;
int message_send_error(int fd, uint32_t serial, const struct error *err) _must_check_;

/* The same without ever waiting: -EAGAIN. */
int message_try(int fd, const struct message *message) _must_check_;

/* Receives one: 1 on a message, 0 at the end, -errno; -EPROTO on a wrong version or size. text
 * is always terminated. fds are appended to list, also where it fails. flags: MSG_DONTWAIT or
 * 0. */
int message_receive(int fd, struct message *ret, int flags, struct fd_list *list) _must_check_;

/* The same where the peer may end with a message of ours unread: the kernel's error for that
 * comes in front of what it had said, and is passed over (af_unix.c, unix_release_sock). */
int message_receive_to_end(int fd, struct message *ret, int flags,
                           struct fd_list *list) _must_check_;

/* The error that a MESSAGE_FAILED carries, with every value checked. */
void message_to_error(const struct message *message, struct error *ret);
