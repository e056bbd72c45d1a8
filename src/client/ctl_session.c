/* SPDX-License-Identifier: Apache-2.0 */
/* Verbs that run a command and do something with its clone: `template update` and `start`. Run
 * as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "client/run.h"
#include "client/saved.h"
#include "spec/names.h"

#include <string.h>

/* What these verbs share with `run`: its options, and what comes of them. */
struct session {
    struct run_draft draft;
    struct run_outcome outcome;
    struct varlink varlink;
    int receipt_fd;
    char *operand;
    char **command;
    int n_command;
};

/* false: help was shown, or an error. */
static bool session_parse(struct session *session, const char *name, int argc, char **argv)
{
    struct error err = {0};
    int first = 0;
    const struct verb *verb = verb_named(name);
    const struct option_call call = {
        .verb = verb, .handler = run_draft_option, .data = &session->draft};
    int r = options_parse(&call, argc, argv, &first, &err);
    if (r == 1)
        options_help(verb);
    if (r < 0)
        session->outcome.status = ctl_failed(&err);
    if (r != 0)
        return false;
    session->operand = argv[first];
    session->command = argv + first + 1;
    session->n_command = argc - first - 1;
    return true;
}

/* Runs what was drafted, unless that failed with r; tells what came of it. */
static void session_run(struct session *session, int r, const struct error *err)
{
    struct run_outcome *outcome = &session->outcome;
    if (r < 0)
        *outcome = (struct run_outcome){
            .failure = *err,
            .status = error_exit_status(err->code),
        };
    session->draft.wants_end = true;
    if (r == 0)
        run_execute(&session->varlink, &session->draft, outcome);
    outcome->status = run_report(&session->draft, session->receipt_fd, outcome);
}

/* Returns its exit status. */
static int session_end(struct session *session)
{
    int status = session->outcome.status;
    varlink_clear(&session->varlink);
    run_draft_clear(&session->draft);
    run_outcome_clear(&session->outcome);
    session->receipt_fd = fd_close(session->receipt_fd);
    return status;
}

/* A question on the terminal; anything but y or yes is a no. */
static bool ask(const char *question)
{
    char answer[16] = "";
    (void)fprintf(stderr, "isolate: %s [y/N] ", question);
    (void)fflush(stderr);
    if (!fgets(answer, sizeof(answer), stdin))
        return false;
    return answer[0] == 'y' || answer[0] == 'Y';
}

static bool wants_generation(const struct run_outcome *outcome, bool interactive)
{
    char question[128];
    if (!outcome->reply || outcome->kind == 0)
        return false;
    if (outcome->status == 0)
        return true;
    if (!interactive)
        return false;
    (void)snprintf(question, sizeof(question),
                   "the session ended with status %d; make a new generation of it?",
                   outcome->status);
    return ask(question);
}

/* The session's clone has gone with its connection. */
static int commit_failed(const struct error *err, const char *name)
{
    int status = ctl_failed(err);
    if (err->code == ERROR_LOST)
        log_error("template \"%s\": whether the new generation was made is unknown; see "
                  "`isolate template inspect %s`, and repeat the session if it was not",
                  name, name);
    else
        log_error("template \"%s\": no new generation was made, and what the session changed "
                  "is lost; repeat it when that is put right",
                  name);
    return status;
}

static int commit_session(struct varlink *varlink, const struct run_outcome *outcome,
                          const char *name)
{
    struct error err = {0};
    char id[128] = "";
    json_t *reply = NULL;
    (void)json_scan_string(outcome->reply, "parameters.id", id, sizeof(id));
    struct ctl_call call = {
        .method = "Commit",
        .parameters = json_pack("{s:s, s:s}", "name", id, "template", name),
        .fd = -EBADF,
    };
    if (ctl_call(varlink, &call, &reply, &err) < 0)
        return commit_failed(&err, name);
    ctl_note_commit(name, reply);
    json_decref(reply);
    return 0;
}

static int draft_update(struct run_draft *draft, const char *name, char **command, int n,
                        struct error *err)
{
    if (n == 0 && !isatty(STDIN_FILENO))
        return fail(err, ERROR_INVALID, ENOTTY,
                    "template update: standard input is no terminal; give a command: isolate "
                    "template update %s -- COMMAND",
                    name);
    if (n == 0)
        draft->tty = true;
    /* only a template itself can get a new generation: no path, no older one */
    int r = name_check_template(name, err);
    if (r == 0)
        r = run_draft_template(draft, name, err);
    if (r < 0)
        return r;
    run_draft_true(draft, "hold");
    if (!draft->has_network)
        run_draft_string(draft, "network", "host");
    return run_draft_finish(draft, command, (size_t)n, err);
}

int ctl_template_update(int argc, char **argv)
{
    struct session session = {.varlink = {.fd = -EBADF}, .receipt_fd = -EBADF};
    if (!session_parse(&session, "template update", argc, argv))
        return session_end(&session);
    struct error err = {0};
    const char *name = session.operand;
    const struct run_outcome *outcome = &session.outcome;
    bool interactive = session.n_command == 0 && isatty(STDIN_FILENO);
    int r = draft_update(&session.draft, name, session.command, session.n_command, &err);
    if (r == 0)
        r = client_connect(&session.varlink, &err);
    session_run(&session, r, &err);
    int status = outcome->status;
    if (wants_generation(outcome, interactive) && !outcome->asked_again) {
        status = commit_session(&session.varlink, outcome, name);
    } else if (status == 0) {
        log_error("template \"%s\" is unchanged: isolated ended before it could make the new "
                  "generation; repeat the session",
                  name);
        status = 125;
    } else if (outcome->kind != 0) {
        log_note("template \"%s\" is unchanged: the session ended with status %d", name,
                 status);
    }
    (void)session_end(&session);
    return status;
}

static int draft_start(struct run_draft *draft, const json_t *sandbox, char **command, int n,
                       struct error *err)
{
    /* what a start repeats as it was, and what only if no other command is given */
    static const char *const names[] = {
        "user",         "workdir",    "hostname",   "owner",      "here",    "network",
        "read_only",    "timeout_ms", "tmpfs",      "pids",       "cap_add", "cap_drop",
        "memory_bytes", "swap_bytes", "cpus_milli", "engine",     "publish", "cpuset",
        "cpu_time_ms",  "io_weight",  "seccomp",    "personality"};
    static const char *const command_names[] = {"argv", "argv_base64", "entrypoint", "boot"};
    const json_t *request = json_object_get(sandbox, "request");
    int r = run_draft_repeat(draft, request, names, ELEMENTS(names));
    if (r == 0)
        r = run_draft_repeat_environment(draft, request);
    if (r == 0 && n == 0)
        r = run_draft_repeat(draft, request, command_names, ELEMENTS(command_names));
    draft->tty = draft->tty || run_draft_has(draft, "boot");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "start: ");
    r = run_draft_repeat_binds(draft, request, err);
    if (r < 0)
        return r;
    run_draft_repeat_display(draft, request);
    run_draft_repeat_ulimits(draft, request);
    run_draft_string(draft, "kept", json_string_value(json_object_get(sandbox, "id")));
    return run_draft_finish(draft, command, (size_t)n, err);
}

static int inspect(struct varlink *varlink, const char *name, json_t **ret, struct error *err)
{
    const struct ctl_call call = {
        .method = "Inspect",
        .parameters = json_pack("{s:s}", "name", name),
        .fd = -EBADF,
    };
    return ctl_call(varlink, &call, ret, err);
}

int ctl_start(int argc, char **argv)
{
    struct session session = {.varlink = {.fd = -EBADF}, .receipt_fd = -EBADF};
    if (!session_parse(&session, "start", argc, argv))
        return session_end(&session);
    struct error err = {0};
    json_t *reply = NULL;
    struct run_draft *draft = &session.draft;
    int r = run_receipt_open(draft, &session.receipt_fd, &err);
    if (r == 0)
        r = client_connect(&session.varlink, &err);
    if (r == 0)
        r = inspect(&session.varlink, session.operand, &reply, &err);
    if (r == 0)
        r = draft_start(draft, json_object_get(reply, "sandbox"), session.command,
                        session.n_command, &err);
    json_decref(reply);
    session_run(&session, r, &err);
    return session_end(&session);
}
