/* SPDX-License-Identifier: Apache-2.0 */
/* A run, as the client sees it: options become a request, the request a command that is watched
 * to its end. Runs as the caller, with the caller's rights only: every path is opened here. */
#pragma once

#include "base/buffer.h"
#include "client/options.h"
#include "sys/socket.h"
#include "varlink/varlink.h"

#include <stdbool.h>

/* A request of io.isolate.Run while it is being put together: the members of its parameters,
 * and the fds that go with it. */
#define RUN_DRAFT_MEMBERS 48

struct run_member {
    const char *name; /* borrowed, lives for ever */
    struct buffer json;
};

struct run_draft {
    struct run_member members[RUN_DRAFT_MEMBERS]; /* one of a name: the last one counts */
    size_t n_members;
    struct buffer binds; /* the elements of these lists, separated by commas */
    struct buffer tmpfs;
    struct buffer cap_add;
    struct buffer cap_drop;
    struct buffer publish;
    struct buffer ulimits;
    struct buffer env; /* NAME=VALUE, each ended by NUL */
    struct fd_list fds;
    bool tty;
    bool interactive;
    bool here;
    bool has_workdir;
    bool has_network;
    bool quiet;
    bool detach;             /* nobody waits for it */
    bool wants_end;          /* waits until isolated says that everything is over */
    bool no_isolation;       /* what runs is as good as on the machine itself */
    bool exec;               /* one more command in a sandbox that runs */
    unsigned display_kinds;  /* of enum display_kind, asked for */
    struct display *display; /* what was found of it; NULL: nothing, or not yet */
    char *receipt_path;
    const char *pre_hook; /* commands for sh, borrowed; NULL: none */
    const char *post_hook;
};
void run_draft_clear(struct run_draft *draft);
#define _cleanup_run_draft_ _cleanup_(run_draft_clear)

/* An option_handler whose data is a struct run_draft. */
int run_draft_option(void *data, enum option_id id, const char *value, struct error *err);

bool run_draft_has(const struct run_draft *draft, const char *name);
/* A member's JSON; NULL: it has not been set. */
const char *run_draft_value(const struct run_draft *draft, const char *name);
/* The value of a member, empty and to be filled with JSON; what it had before is forgotten. */
struct buffer *run_draft_member(struct run_draft *draft, const char *name);
void run_draft_string(struct run_draft *draft, const char *name, const char *value);
void run_draft_true(struct run_draft *draft, const char *name);
/* A list of strings, in base64 where one is no UTF-8: then the member is base64_name. */
void run_draft_list(struct run_draft *draft, const char *name, const char *base64_name,
                    char *const *items, size_t n);
/* Variables, each with a NUL behind it, in front of those there are: of two the later wins. */
void run_draft_env_first(struct run_draft *draft, const struct buffer *variables);
int run_draft_bind(struct run_draft *draft, const char *source, const char *target,
                   const char *options, struct error *err) _must_check_;

int run_draft_device(struct run_draft *draft, const char *source, const char *target,
                     struct error *err) _must_check_;

/* draft_bind.c: --bind SRC:DST[:OPTIONS]. */
int draft_bind(struct run_draft *draft, const char *value, struct error *err) _must_check_;
/* draft.c: JSON can hold it. what: the option. */
int draft_need_utf8(const char *what, const char *value, struct error *err) _must_check_;

/* draft_device.c: --device PATH[:TARGET], and --gpu: those that this machine has. */
int draft_device(struct run_draft *draft, const char *value, struct error *err) _must_check_;
int draft_gpu(struct run_draft *draft, struct error *err) _must_check_;

/* A socket of the caller's, at target, to connect to. */
int run_draft_socket(struct run_draft *draft, int take_fd, const char *source,
                     const char *target, struct error *err) _must_check_;

/* draft_display.c: notes that the option's display or sound is wanted, which name is in a
 * request; false: it is another option. */
bool run_draft_display_option(struct run_draft *draft, enum option_id id);
bool run_draft_display_kind(struct run_draft *draft, const char *name);
/* Finds what is wanted and puts it into the request; the user must be known. */
int run_draft_display(struct run_draft *draft, struct error *err) _must_check_;

/* A hook before the start or after the end; command is borrowed. */
int run_draft_hook(struct run_draft *draft, bool before, const char *command,
                   struct error *err) _must_check_;

/* What of `run` its first operand means: a template, a path, @host. */
int run_draft_template(struct run_draft *draft, const char *operand,
                       struct error *err) _must_check_;

/* The last of it: environment, version, the command. */
int run_draft_finish(struct run_draft *draft, char *const *command, size_t n,
                     struct error *err) _must_check_;

/* Appends the members of the request, what was finished, separated by commas. */
void run_draft_write(const struct run_draft *draft, struct buffer *out);

/* What came of it. */
struct run_outcome {
    bool started;
    int kind;   /* enum exit_kind, 0: unknown */
    int detail; /* exit code or signal */
    int status; /* what the client is to exit with */
    struct error failure;
    char *reply;      /* isolated's last message, or NULL */
    bool asked_again; /* it came on another connection: what was held on the first is gone */
};
void run_outcome_clear(struct run_outcome *outcome);
#define _cleanup_run_outcome_ _cleanup_(run_outcome_clear)

/* Sends the request over varlink and watches the command to its end: signals, terminal, stdio.
 * On return everything of the sandbox is dead. Errors are in the outcome and have not been
 * printed. */
void run_execute(struct varlink *varlink, struct run_draft *draft, struct run_outcome *ret);

/* The error that isolated's message tells. */
void run_take_failure(struct run_outcome *outcome, const char *text);

/* again.c: asks the isolated that came after the one that went what became of the sandbox. */
void run_ask_again(const char *id, struct run_outcome *outcome);

/* Prints the failure, writes the receipt; returns the exit status. */
int run_report(const struct run_draft *draft, int receipt_fd,
               const struct run_outcome *outcome);

/* From a draft to the exit status: finishes it with the command, connects, runs, reports. */
int run_draft_go(struct run_draft *draft, char *const *command, size_t n);

/* What is to be done with the operands of run, shell and exec: TEMPLATE or SANDBOX and what
 * depends on it. */
int run_draft_operand(struct run_draft *draft, const char *verb, const char *operand,
                      struct error *err) _must_check_;
/* What options cannot be together, and what a verb brings along; template or spec are there. */
int run_draft_check(struct run_draft *draft, const char *verb, struct error *err) _must_check_;

/* Whether run or shell have one of the options (--explain, --spec) that the small client leaves
 * to isolate-ctl. argv is not changed. */
bool run_is_for_ctl(const char *verb, int argc, char **argv);

/* The verbs run, shell and exec, whole. */
int run_main(const char *verb, int argc, char **argv);

/* Opens the receipt's file, or -EBADF where none was asked for. */
int run_receipt_open(const struct run_draft *draft, int *ret_fd,
                     struct error *err) _must_check_;
