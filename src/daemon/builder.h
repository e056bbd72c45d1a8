/* SPDX-License-Identifier: Apache-2.0 */
/* The builders: bodies are made and taken away here, so that the event loop waits for no file
 * system. A resident isolated has two processes for it, one that builds and one that takes
 * away; a one-shot does it itself, at once. */
#pragma once

#include "daemon/body.h"

/* Called when it is done, in the one-shot before the call returns. The error is the callee's to
 * read until it returns. */
typedef void (*builder_done)(void *data, int result, struct error *err);

/* Starts the two processes. They end with isolated and are started again when they die. */
int builders_start(struct daemon *daemon, struct error *err) _must_check_;
void builders_stop(struct daemon *daemon);
/* They read the configuration again. */
void builders_reload(struct daemon *daemon);

struct build_order {
    struct body *body;
    int one_off_root; /* of a template that is a directory, else -EBADF; borrowed until done */
    bool idle;        /* for the pool: when nothing else is to be done */
};

/* Builds a body up to the message BUILD (see body_build). The body is not to be touched until
 * then, but must stay where it is. */
void builder_build(const struct build_order *build, builder_done done, void *data);
/* The same up to a fresh clone (see body_clone); by the resident daemon only. */
void builder_clone(const struct build_order *build, builder_done done, void *data);
/* The same up to what its owner's hook is shown (see body_view); it is built afterwards. */
void builder_view(const struct build_order *build, builder_done done, void *data);
/* Settles a body whose processes have ended (see body_settle_for_view); it keeps its locks. */
void builder_settle(struct body *body, builder_done done, void *data);
/* Settles and destroys a body whose processes have ended; the body owns nothing afterwards. One
 * with very many files takes long, and holds up no other, nor the end of isolated. */
void builder_destroy(struct body *body, builder_done done, void *data);
/* Finishes what was left by processes that were killed; done may be NULL, and is not called
 * where another one has not begun yet, which does this one's work. */
void builder_recover(struct daemon *daemon, builder_done done, void *data);
/* Kills the one that builds: it is started again, with a nursery of its own. */
void builder_kill(struct daemon *daemon);
/* Calls back once nothing is being built or taken away, but what takes long: now, or later. */
void builders_when_idle(struct daemon *daemon, void (*idle)(struct daemon *daemon));
/* How many bodies wait to be taken away. */
unsigned builder_backlog(const struct daemon *daemon);

/* builder_main.c: the process: serves isolated at fd 3, clones in the nursery at fd 4. */
int builder_main(void);

/* builder_wire.c: a body on its way to a builder and back. The fds of to_json are appended to
 * list and stay the body's; those of from_json are the body's from then on. */
enum builder_packet {
    BUILDER_BUILD = 1,
    BUILDER_CLONE,
    BUILDER_VIEW,
    BUILDER_SETTLE,
    BUILDER_DESTROY,
    BUILDER_RECOVER,
    BUILDER_RELOAD,
};
/* The result of BUILDER_DESTROY that another one follows, some time. */
#define BUILDER_GOES_ON 1
json_t *body_to_json(const struct body *body, struct fd_list *list);
int body_from_json(json_t *value, struct fd_list *list, struct body *body) _must_check_;
/* What came of settling it. */
json_t *settled_to_json(const struct body *body, struct fd_list *list);
void settled_from_json(json_t *value, struct fd_list *list, struct body *body);
/* What came of building it. */
json_t *built_to_json(const struct body *body, struct fd_list *list);
int built_from_json(json_t *value, struct fd_list *list, struct body *body) _must_check_;
