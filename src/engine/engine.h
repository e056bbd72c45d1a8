/* SPDX-License-Identifier: Apache-2.0 */
/* Engines: what isolates a command. One file an engine, one registry; a spec that an engine
 * cannot honour is refused with the engine's and the option's name. Runs in isolated as root.
 * Storage reaches an engine as a mount fd, the caller as fds; everything a sandbox answers is
 * untrusted. Calls do not wait for the sandbox: its answers come on park_fd. */
#pragma once

#include "base/error.h"
#include "spec/message.h"
#include "spec/start.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

/* What must be known before a sandbox can be built. */
struct engine_shape {
    uint32_t first_id; /* host id of the sandbox's 0; USERNS_RANGE ids belong to it alone */
    bool host_network;
    bool persistent; /* changes to the root persist: replace nothing in it */
    bool root_later; /* build gets a place holder, and enter the root */
    bool own_pages;  /* nothing of the root is in the page cache yet */
    bool host_ids;   /* no ids of its own: the sandbox's root is the machine's */
    bool apart;      /* such an engine gets a network namespace of its own */
    bool foreign;    /* the root is what a foreign engine makes a sandbox of */
    int cgroup_fd;   /* the sandbox's leaf */
    int init_fd;     /* isolate-init in its sealed memfd */
    int listen_fd;   /* init's, for isolated to come back by; borrowed */
    int nursery_fd;  /* who clones the sandbox; -EBADF: we do it ourselves */
};

struct engine_instance {
    pid_t pid; /* our child; 0: none */
    int pidfd;
    int park_fd;   /* SOCK_SEQPACKET to init, non-blocking */
    int userns_fd; /* of the sandbox: id-maps mounts to it */
};

#define ENGINE_INSTANCE_NONE                                                                   \
    {                                                                                          \
        .pidfd = -EBADF, .park_fd = -EBADF, .userns_fd = -EBADF                                \
    }

struct engine_claim {
    const struct start *start;
    uint32_t filter_flags; /* FILTER_* */
    const void *profile;   /* one more program, for in front of the command; NULL: none */
    size_t profile_length;
    const char *argument; /* engine_argument of its name */
    bool prepared;        /* prepare was called, and start asks for nothing else */
    int control_fd;       /* the client's control socket, or the log; borrowed */
    const int *mounts;    /* one per bind of start; borrowed */
    uint64_t chance;      /* engine_start's: for a name that nobody else can have taken */
    int cpu_stat_fd;      /* with start's cpu_time_ms the cgroup's cpu.stat; borrowed */
};

/* What init is told of a claim: the start, completed by the engine, and what that points to. */
struct engine_order; /* engine/order.h */
struct engine_told {
    struct start start;
    struct engine_order *order; /* NULL: none */
};
void engine_told_clear(struct engine_told *told);
#define _cleanup_engine_told_ _cleanup_(engine_told_clear)

/* What an engine can do; whatever asks for something else is refused by name. */
enum engine_capability {
    ENGINE_ISOLATES = 1 << 0,     /* all but chroot */
    ENGINE_PARKS = 1 << 1,        /* can be built before it is known what is to run */
    ENGINE_EXEC = 1 << 2,         /* more commands beside the first */
    ENGINE_BINDS = 1 << 3,        /* directories and files of the caller's */
    ENGINE_CLONES = 1 << 4,       /* runs in clones; else on a directory itself only */
    ENGINE_CAPABILITIES = 1 << 5, /* takes capabilities away, and gives more */
    ENGINE_DISPLAY = 1 << 6,      /* sockets of the caller's display and sound */
    ENGINE_FILTERS = 1 << 9,      /* its command's system calls are filtered */
    ENGINE_NESTED = 1 << 10,      /* namespaces of the command's own, without CAP_SYS_ADMIN */
    ENGINE_NESTS = 1 << 7,        /* its command may make namespaces of its own */
    ENGINE_BOOTS = 1 << 8,        /* starts the root's own init, as process 1 */
};
/* What every engine can that makes a whole sandbox. */
#define ENGINE_SANDBOX                                                                         \
    (ENGINE_ISOLATES | ENGINE_PARKS | ENGINE_EXEC | ENGINE_BINDS | ENGINE_CLONES |             \
     ENGINE_CAPABILITIES | ENGINE_DISPLAY | ENGINE_FILTERS)

/* Ended by a NULL name; as isolate engines and the interface call them. */
struct engine_capability_name {
    enum engine_capability capability;
    const char *name;
};
extern const struct engine_capability_name engine_capability_names[];

struct engine {
    const char *name;
    const char *package; /* Debian's, NULL: part of isolate */
    const char *oldest;  /* with which it is known to work; NULL: part of isolate */
    unsigned capabilities;
    const char *argument; /* what may follow its name behind a colon; NULL: nothing may */
    bool is_ahead;        /* it is executed while its sandbox is parked */

    /* Whether it can run here: -errno with what to install. Asked for each sandbox. argument:
     * validated and of a caller who may name it; or NULL. */
    int (*probe)(const char *argument, struct error *err);
    /* Makes the namespaces and init in them, in the cgroup from the first instruction. */
    int (*spawn)(const struct engine_shape *shape, struct engine_instance *ret,
                 struct error *err);
    /* Hands over the root (a detached mount, borrowed); READY or FAILED follows. */
    int (*build)(const struct engine_instance *instance, const struct engine_shape *shape,
                 int root_mount_fd, struct error *err);
    /* With root_later: hands over the root (a detached mount, borrowed), before claim.
     * persistent: as in the shape. Nothing follows, unless it fails. NULL: the engine cannot.
     */
    int (*enter)(const struct engine_instance *instance, int root_mount_fd, bool persistent,
                 struct error *err);
    /* What is likely to be asked for, in advance, of a parked sandbox: start has files,
     * hostname and capabilities, and is completed already where the engine `is_ahead`. Nothing
     * follows, unless it fails. NULL: the engine cannot. */
    int (*prepare)(const struct engine_instance *instance, const struct start *start,
                   struct error *err);
    /* Completes ret->start, which is the claim's already: its flags, or the engine's arguments,
     * environment and configuration. Needs no instance and changes nothing. NULL: there is
     * nothing to add. */
    int (*complete)(const struct engine_claim *claim, struct engine_told *ret,
                    struct error *err);
    /* Hands over the late part, completed already; STARTED or FAILED follows. */
    int (*claim)(const struct engine_instance *instance, const struct engine_claim *claim,
                 struct error *err);
};

/* The engine of that name, which may have an argument behind a colon (NULL: the default);
 * -ENOENT with the nearest right one. */
int engine_find(const char *name, const struct engine **ret, struct error *err) _must_check_;

/* What is behind the colon of a name; NULL: none. */
const char *engine_argument(const char *name);

/* The runtimes that who is not root may name, in the order in which they are looked for; ended
 * by NULL. */
extern const char *const engine_oci_runtimes[];

/* The i-th engine; NULL behind the last. */
const struct engine *engine_at(size_t i);

/* Says by name that the engine cannot do what is asked for; what: "run one more command". */
int engine_require(const struct engine *engine, enum engine_capability capability,
                   const char *what, struct error *err) _must_check_;

/* What engine_start would tell init, with no chance in it; needs no sandbox. ret is to be
 * cleared by the caller, also after a failure. */
int engine_tell(const struct engine *engine, const struct engine_claim *claim,
                struct engine_told *ret, struct error *err) _must_check_;
/* Of a parked sandbox: prepare, where the engine can. 1 where that is nothing. */
int engine_prepare(const struct engine *engine, const struct engine_instance *instance,
                   const struct start *start, struct error *err) _must_check_;
/* Hands that over. */
int engine_start(const struct engine *engine, const struct engine_instance *instance,
                 const struct engine_claim *claim, struct error *err) _must_check_;

/* Closes the fds; the process is reaped by whoever watches pidfd. */
void engine_instance_clear(struct engine_instance *instance);
