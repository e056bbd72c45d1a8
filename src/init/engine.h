/* SPDX-License-Identifier: Apache-2.0 */
/* Foreign engines: what spec/message.h says of them, on both sides. engine.c runs in init, as
 * root of the sandbox's user namespace; inner.c in what the engine has made, with what it has
 * left of that. */
#pragma once

#include "init/init.h"

/* engine_root.c: what the engine's root is made of. */
struct engine_place {
    int usr_fd;     /* detached mounts, for one engine: of the host's /usr */
    int dev_fd;     /* and of the sandbox's /dev, before binds of a caller's */
    int network_fd; /* a network namespace of the engine's own; -EBADF: none */
};
/* Right behind init_build; flags are BUILD's. */
int engine_place_take(struct engine_place *place, int take_usr_fd, uint32_t flags,
                      struct error *err) _must_check_;
void engine_place_clear(struct engine_place *place);
#define ENGINE_PLACE_NONE                                                                      \
    {                                                                                          \
        -EBADF, -EBADF, -EBADF                                                                 \
    }
/* In a child of init: what was the root is at ENGINE_ROOT then. */
int engine_enter_root(const struct engine_place *place, const struct start_engine *engine,
                      struct error *err) _must_check_;

#define ENGINE_CHILD_NONE                                                                      \
    {                                                                                          \
        .socket_fd = -EBADF, .said_fd = -EBADF                                                 \
    }

/* engine.c: executes the engine that start names; its inner init waits for the first command.
 * Does not wait for it. */
int engine_launch(const struct start *start, int filter_fd, const struct engine_place *place,
                  struct engine_child *ret, struct error *err) _must_check_;

/* The first command. Its pid, or -errno where it could not be executed: then the engine is
 * gone, and what it said is in the error. */
pid_t engine_run(struct engine_child *child, const struct command *command, int spec_fd,
                 struct error *err) _must_check_;

/* engine_ahead.c: an engine that has been executed while the sandbox is parked. */
struct engine_ahead {
    struct engine_child child; /* pid 0: none */
    struct buffer order;       /* what it was told */
};
#define ENGINE_AHEAD_NONE                                                                      \
    {                                                                                          \
        .child = ENGINE_CHILD_NONE                                                             \
    }
/* fds: those of PREPARE. */
int engine_ahead_launch(struct engine_ahead *ahead, const struct start *start,
                        struct fd_list *fds, struct error *err) _must_check_;
/* Gives it to the start if it is what the start wants; else ends it. new_root: init has another
 * root than when it was executed. */
void engine_ahead_take(struct engine_ahead *ahead, const struct start *start, bool new_root,
                       struct engine_child *ret);

/* One more command, in the running engine's sandbox: its pid, or -errno, and its number. */
pid_t engine_exec(struct engine_child *child, const struct command *command,
                  uint32_t *ret_order, struct error *err) _must_check_;

/* Signals all commands and what they have started, but not the engine. Does not wait. */
void engine_signal_all(const struct engine_child *child, int signal_number);

/* The next command that has ended, if one has: EXITED with its number as serial; 0 is the first
 * one. Kills those that have started after all when engine_exec had given them up. Does not
 * wait. */
bool engine_ended(struct engine_child *child, struct message *ret);

/* The wait status that EXITED means. */
int engine_status(const struct message *exited);

/* inner_confine.c: before the first command: masks, the root's flags, capabilities, filters. */
struct inner_filters {
    const void *data; /* sys/filter_walk.h */
    size_t length;
};
/* late: what is left to do of its mounts; root_fd: with ENGINE_LATE_ROOT. */
int inner_confine(const struct start *start, const struct inner_filters *filters,
                  enum engine_late late, int root_fd, struct error *err) _must_check_;

/* What of proc sandboxes do not see, where the engine leaves it to the inner init. */
int inner_mask_proc(struct error *err) _must_check_;

/* inner.c: the inner init's main. */
int inner_main(bool masks_proc);
