/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-ctl: everything that need not be as fast as a start. Runs as the caller; asks
 * isolated over varlink and prints. Each verb is a function of the arguments behind it that
 * returns the exit status. */
#pragma once

#include "client/options.h"
#include "varlink/varlink.h"

#include <jansson.h>

/* ctl_call.c: one call. parameters is consumed; the reply's parameters are returned (owned).
 * on_more, if not NULL, is called for each reply before the last one. */
struct ctl_call {
    const char *method; /* without "io.isolate." */
    json_t *parameters;
    int fd;                    /* sent along, borrowed; -EBADF: none */
    const struct fd_list *fds; /* instead of fd, borrowed; or NULL */
    void (*on_more)(void *data, const json_t *parameters);
    void *data;
};
int ctl_call(struct varlink *varlink, const struct ctl_call *call, json_t **ret,
             struct error *err) _must_check_;

/* Where isolated shows its progress. It takes open files from root alone, and says itself what
 * else is root's. */
int ctl_progress_fd(bool quiet);

/* Connects, calls once, disconnects. */
int ctl_ask(const struct ctl_call *call, json_t **ret, struct error *err) _must_check_;

struct ctl_verb;
/* Where the storage of a new template, says the reply, is gone with the next boot. */
void ctl_warn_in_memory(const struct ctl_verb *verb, const char *name);
/* NAME@GENERATION taken apart; *ret_generation is NULL without one. */
void ctl_split_generation(char *text, const char **ret_generation);

/* Says what came of a Commit (ctl_sandbox.c). */
void ctl_note_commit(const char *name, const json_t *reply);

/* Prints the error; returns its exit status. */
int ctl_failed(const struct error *err);

/* The values of the few options that these verbs have. */
struct ctl_options {
    bool all;
    bool json;
    bool hash;
    bool native;
    bool kept;
    bool quiet;
    const char *from;
    const char *to;
    const char *since;
    const char *user;
    const char *storage;
    const char *signal;
    const char *seconds;
    const char *detach_keys;
    const char *filters[8];
    size_t n_filters;
    bool no_stdin;
    bool follow;
};
/* A verb at work: what was given on the command line, and the last reply. */
struct ctl_verb {
    struct ctl_options options;
    char **operands;
    int n_operands;
    json_t *reply;
    struct varlink varlink; /* from the first call on */
    bool is_connected;
    int status;          /* to exit with where something below says no */
    enum error_code why; /* a call failed; ERROR_NONE: none has */
};
void ctl_verb_clear(struct ctl_verb *verb);
#define _cleanup_ctl_verb_ _cleanup_(ctl_verb_clear)

/* Parses. false: help was shown, or an error. */
bool ctl_verb_begin(struct ctl_verb *verb, const char *name, int argc,
                    char **argv) _must_check_;

/* Calls, and keeps the reply; parameters are consumed. false: the error was printed. */
bool ctl_verb_ask(struct ctl_verb *verb, const char *method,
                  json_t *take_parameters) _must_check_;
bool ctl_verb_call(struct ctl_verb *verb, const struct ctl_call *call) _must_check_;

/* A member of the reply; a text of it, NULL where there is none. */
const json_t *ctl_verb_reply(const struct ctl_verb *verb, const char *key);
const char *ctl_verb_text(const struct ctl_verb *verb, const char *key);

/* ctl_table.c: tables on stdout, by libsmartcols; texts are escaped. */
struct ctl_column {
    const char *name;
    bool right;
};
struct ctl_table;
void ctl_table_row(struct ctl_table *table, const char *const *cells);
void ctl_format_size(char *out, size_t size, uint64_t bytes);
void ctl_format_time(char *out, size_t size, int64_t seconds);
/* Why not all is known of an item of a list, or ""; whether that is so of any. */
const char *ctl_problem_of(const json_t *item);
bool ctl_has_problem(const json_t *items);
void ctl_print_json(const json_t *value);
/* A list: as JSON, or as a table of which row() adds one row for an item. */
void ctl_print_list(const json_t *items, bool json, const struct ctl_column *columns, size_t n,
                    void (*row)(struct ctl_table *table, const json_t *item));

/* A name or number of a signal; -errno. */
int ctl_signal_number(const char *text, struct error *err) _must_check_;
/* Asks to be told of the end of a sandbox: 0 or -errno. The reply is there once it has come. */
int ctl_wait_begin(struct varlink *varlink, const char *name) _must_check_;
/* Waits for it: the status that it stands for, as the client of a run exits with; 123 where it
 * is not known. */
int ctl_wait_end(struct varlink *varlink);
/* Writes what is new in a log: 1 while there may be more, 0 at its end. */
int ctl_print_log(int log_fd, uint64_t *position);

int ctl_original(int argc, char **argv); /* -r of the original */
int ctl_attach(int argc, char **argv);
int ctl_cp(int argc, char **argv);
int ctl_kill(int argc, char **argv);
int ctl_logs(int argc, char **argv);
/* The original's `-t DIR`, without isolated. */
int ctl_user(int argc, char **argv);
int ctl_engines(int argc, char **argv);
int ctl_policy(int argc, char **argv);
int ctl_pool(int argc, char **argv);
int ctl_pool_set(int argc, char **argv);
int ctl_pool_refresh(int argc, char **argv);
int ctl_pool_drain(int argc, char **argv);
int ctl_storage_ls(int argc, char **argv);
int ctl_storage_forget(int argc, char **argv);
int ctl_stats(int argc, char **argv);
int ctl_stop(int argc, char **argv);
int ctl_wait(int argc, char **argv);
int ctl_ps(int argc, char **argv);
int ctl_inspect(int argc, char **argv);
int ctl_diff(int argc, char **argv);
int ctl_commit(int argc, char **argv);
int ctl_rm(int argc, char **argv);
int ctl_prune(int argc, char **argv);
/* run and shell with --explain or --spec; argv[0] is the verb. */
int ctl_run(int argc, char **argv);
int ctl_start(int argc, char **argv);
int ctl_template_create(int argc, char **argv);
int ctl_template_ls(int argc, char **argv);
int ctl_template_inspect(int argc, char **argv);
int ctl_template_update(int argc, char **argv);
int ctl_template_snapshot(int argc, char **argv);
int ctl_template_rollback(int argc, char **argv);
int ctl_template_export(int argc, char **argv);
int ctl_template_send(int argc, char **argv);
int ctl_template_receive(int argc, char **argv);
int ctl_template_rm(int argc, char **argv);
int ctl_help(int argc, char **argv);
/* For the shells' completions: names of templates, sandboxes or storages, one a line; never an
 * error. */
int ctl_complete(int argc, char **argv);
