/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-init: pid 1 of a sandbox. It begins as root of the sandbox's user namespace
 * with every capability there, in namespaces of its own that still show the host's mounts,
 * executed from a sealed memfd, with the park socket on fd 3 and nothing else open. It trusts
 * isolated on the park socket; the template, the control socket's fds and every process of the
 * sandbox are hostile. All functions here may block on nothing but the sandbox itself. */
#pragma once

#include "base/error.h"
#include "init/command.h"
#include "init/detached.h"
#include "spec/message.h"
#include "spec/start.h"

#include <stdbool.h>
#include <stdint.h>

#define INIT_PARK_FD 3

/* build.c: mounts the sandbox's own system tree around the clone and enters it. fds are those
 * of enum build_fd and borrowed. */
int init_build(const int *fds, uint32_t flags, struct error *err) _must_check_;

/* build.c: enters another root, once, before anything else is mounted: what init_build has
 * mounted moves to it. flags: BUILD_KEEP_NODES. */
int init_change_root(int root_fd, uint32_t flags, struct error *err) _must_check_;

/* place.c: mounts all binds (mounts: one fd each, borrowed) and tmpfs, parents first, where
 * their targets lead within the root. Places that are missing are made, but not in a bind. */
int init_mount_all(const struct start *start, const int *mounts,
                   struct error *err) _must_check_;

/* private.c: makes start's private directory with its files; nothing where it has none. Before
 * init_mount_all, which mounts sockets there. */
int init_private(const struct start *start, struct error *err) _must_check_;

/* accounts.c: what the sandbox's own passwd says. Strings are allocated and never NULL. */
struct account {
    char *name; /* "" where there is no entry */
    char *home;
    char *shell;
    uint32_t uid;
    uint32_t gid;
};
void account_clear(struct account *account);
int account_by_name(const char *name, struct account *ret, struct error *err) _must_check_;
/* What -u means: NAME, UID, NAME:GROUP, UID:GID and mixtures; ids from 0 to 65535. Without a
 * group the one of the passwd entry, or the number of the uid where there is none. */
int account_resolve(const char *text, uint32_t *ret_uid, uint32_t *ret_gid,
                    struct error *err) _must_check_;
/* An entry that is missing gives name "", home "/" and shell /bin/sh. */
int account_by_uid(uint32_t uid, struct account *ret, struct error *err) _must_check_;
/* Adds the groups of the group file that name the user; at most START_GROUPS in all. */
int account_groups(const char *name, uint32_t *groups, uint32_t *n) _must_check_;
/* Appends an entry for uid and makes its home where the passwd has none. */
int account_ensure(uint32_t uid, uint32_t gid, const char *name,
                   struct error *err) _must_check_;

/* warm.c: has the kernel read, into the page cache, what nearly every command of this root
 * needs first: the dynamic linker and the C library that the program asks for. Does not wait.
 */
void init_warm(const char *program);

/* provide.c: writes the files that the host provides into the clone; by_mount: mounts them over
 * existing files instead, where changes to the root persist. */
int init_provide(const struct start *start, bool by_mount, struct error *err) _must_check_;

/* nest.c: lets who may make namespaces of its own have a proc there. */
int init_pin_proc(struct error *err) _must_check_;

/* stdio.c: takes the command's stdio from the control socket: 0 and three fds, or an error
 * where one of them would open a door (directory, O_PATH, block device). */
int init_receive_stdio(int control_fd, int ret[static 3], struct error *err) _must_check_;

/* stdio.c: a pty of the sandbox's devpts in place of what ret holds: the master goes to the
 * client, the slave stays here as stdio and belongs to uid. */
int init_give_pty(int control_fd, uint32_t uid, int ret[static 3],
                  struct error *err) _must_check_;
/* The same, with the master here. */
int init_make_pty(int *ret_master, uint32_t uid, int ret[static 3],
                  struct error *err) _must_check_;

/* environment.c: the command's environment, NULL-terminated: defaults, then start's. Allocated.
 */
char **init_environment(const struct start *start, const struct account *account);

/* Commands that exec asked for, at once; and how long init waits for the first instruction of
 * one, which others of the sandbox can stop on its way there. */
#define EXECS_MAX        64
#define EXEC_PATIENCE_MS 10000

/* engine.c: a foreign engine that runs the commands, as a child of init. */
struct engine_child {
    pid_t pid;             /* 0: none, commands are init's own children */
    int socket_fd;         /* to the inner init */
    int said_fd;           /* what the engine writes to stderr, until the first command runs */
    enum engine_late late; /* what of the first command's mounts came after it */
    uint32_t last_order;   /* commands are numbered here, whatever isolated calls them */
    /* what it has told while something else was waited for: commands that ended */
    struct message told[EXECS_MAX + 1];
    size_t n_told;
};

/* cpu_clock.c: the CPU time that all of the sandbox may use. */
struct cpu_clock {
    int stat_fd;     /* the cgroup's cpu.stat; -EBADF: as much as there is */
    uint32_t n_cpus; /* that may use it up */
    uint64_t end_us; /* by what the cgroup counts */
};
/* From now on. stat_fd is borrowed for as long as the clock is asked. */
void cpu_clock_start(struct cpu_clock *clock, const struct start *start, int stat_fd);
/* After how many milliseconds to ask again; 0: it is used up, -1: there is no end. */
int cpu_clock_left_ms(const struct cpu_clock *clock);

/* supervise.c: what goes on in the sandbox once its command has started. */
struct running {
    struct addressee command;
    struct engine_child engine;
    int console_fd; /* an init opens it when it has something to say: it is not to hang up */
    int signals_fd; /* says that a process has ended: there before the first one is started */
    int control_fd; /* its client's; -EBADF: detached */
    int listen_fd;  /* where isolated comes back after a restart; -EBADF: nowhere */
    int filter_fd;  /* the system call filters, for more commands */
    uint64_t timeout_ms;
    struct cpu_clock cpu_clock;
    struct rlimit_wishes ulimits;
    uint64_t capabilities;
    uint32_t uid;
    uint32_t gid;
    uint32_t scoped; /* START_SCOPED, or 0: holds for all */
    char *workdir;
    struct detached detached;
};
/* For running.signals_fd; -errno. SIGCHLD is blocked. */
int init_watch_children(void) _must_check_;
/* Reaps, forwards signals, starts more commands, watches the client and the clock until the
 * command ends; ends all others then, tells client and isolated. Returns when the sandbox is to
 * end. */
void init_supervise(struct running *running);

/* supervise.c: what is told of a command that ended so; over: the kind of exit, 0: status's. */
struct message exit_message(int status, int over);

/* exec.c: one more command: everything from the message to its first instruction. Its pid, or
 * -errno. *ret_order: what a foreign engine's inner init calls it. */
pid_t init_exec(struct running *running, uint32_t *ret_order, const struct fd_list *fds,
                struct error *err) _must_check_;

/* command.c: forwards a signal to all that a command's terminal would have reached. */
void command_signal(struct addressee command, int signal_number);
