/* SPDX-License-Identifier: Apache-2.0 */
/* The verbs run, shell and exec. Run as the caller. */
#include "client/run.h"

#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "paths.h"
#include "spec/message.h"
#include "spec/names.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

int run_receipt_open(const struct run_draft *draft, int *ret_fd, struct error *err)
{
    *ret_fd = -EBADF;
    if (!draft->receipt_path)
        return 0;
    /* a link at its place may have been planted by an earlier run in the same directory */
    bool device = text_after(draft->receipt_path, "/dev/") != NULL;
    int flags = O_WRONLY | O_CREAT | O_TRUNC | O_CLOEXEC | (device ? 0 : O_NOFOLLOW);
    *ret_fd = open(draft->receipt_path, flags, 0644);
    if (*ret_fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "--receipt %s: ", draft->receipt_path);
    return 0;
}

static const char *kind_name(const struct run_outcome *outcome)
{
    const char *name = exit_kind_name(outcome->kind);
    return name ? name : outcome->failure.code == ERROR_LOST ? "lost" : "failed";
}

/* {"version", "kind", "status", "code"|"signal", "error", "sandbox": isolated's own words} */
static int write_receipt(int fd, const struct run_outcome *outcome)
{
    _cleanup_buffer_ struct buffer text = {0};
    char escaped[2 * ERROR_TEXT_MAX];
    size_t length = 0;
    buffer_printf(&text, "{\"version\":1,\"kind\":\"%s\",\"status\":%d", kind_name(outcome),
                  outcome->status);
    if (outcome->kind == EXIT_KIND_EXITED)
        buffer_printf(&text, ",\"code\":%d", outcome->detail);
    if (outcome->kind == EXIT_KIND_SIGNALED)
        buffer_printf(&text, ",\"signal\":%d", outcome->detail);
    if (outcome->failure.code != ERROR_NONE) {
        text_escape(escaped, sizeof(escaped), outcome->failure.text);
        buffer_append_text(&text, ",\"error\":");
        buffer_append_json_string(&text, escaped);
    }
    const char *sandbox =
        outcome->reply ? json_scan(outcome->reply, "parameters", &length) : NULL;
    if (sandbox) {
        buffer_append_text(&text, ",\"sandbox\":");
        buffer_append(&text, sandbox, length);
    }
    buffer_append_text(&text, "}\n");
    return text.failed ? -ENOMEM : fd_write_all(fd, text.data, text.length);
}

/* The id of what was left running, for scripts. */
static void print_id(const struct run_outcome *outcome)
{
    char id[128] = "";
    if (!outcome->reply || !json_scan_string(outcome->reply, "parameters.id", id, sizeof(id)))
        return;
    char line[sizeof(id) + 1];
    (void)snprintf(line, sizeof(line), "%s\n", id);
    int r = fd_write_all(STDOUT_FILENO, line, strlen(line));
    if (r < 0)
        log_warning("standard output: %s; what runs is %s", strerror(-r), id);
}

int run_report(const struct run_draft *draft, int receipt_fd, const struct run_outcome *outcome)
{
    if (draft->detach && outcome->failure.code == ERROR_NONE)
        print_id(outcome);
    if (outcome->failure.code != ERROR_NONE)
        log_error("%s", outcome->failure.text);
    else if (outcome->kind == EXIT_KIND_TIMEOUT)
        log_note("the command was ended: its time was over");
    else if (outcome->kind == EXIT_KIND_CPU_TIME)
        log_note("the command was ended: its CPU time was used up");
    if (receipt_fd >= 0) {
        int r = write_receipt(receipt_fd, outcome);
        if (r < 0)
            log_warning("--receipt %s: %s", draft->receipt_path, strerror(-r));
    }
    return outcome->status;
}

/* The environment that was gathered from -e and --env-file. */
static int add_environment(struct run_draft *draft)
{
    size_t n = 0;
    const char *term = draft->tty ? getenv("TERM") : NULL;
    if (draft->tty) {
        _cleanup_buffer_ struct buffer variable = {0};
        buffer_append_text(&variable, "TERM=");
        buffer_append(&variable, term ? term : "dumb", strlen(term ? term : "dumb") + 1);
        run_draft_env_first(draft, &variable);
    }
    if (draft->env.failed)
        return -ENOMEM;
    for (size_t i = 0; i < draft->env.length; i++)
        n += draft->env.data[i] == '\0';
    if (n == 0)
        return 0;
    char **items = calloc(n, sizeof(*items));
    if (!items)
        return -ENOMEM;
    char *at = draft->env.data;
    for (size_t i = 0; i < n; i++, at += strlen(at) + 1)
        items[i] = at;
    run_draft_list(draft, "env", "env_base64", items, n);
    free(items);
    return 0;
}

int run_draft_finish(struct run_draft *draft, char *const *command, size_t n, struct error *err)
{
    int r = run_draft_display(draft, err);
    if (r < 0)
        return r;
    r = add_environment(draft);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "environment: ");
    run_draft_string(draft, "client", ISOLATE_VERSION);
    if (draft->tty)
        run_draft_true(draft, "tty");
    if (draft->detach && draft->interactive)
        run_draft_true(draft, "stdin_open");
    if (n > 0)
        run_draft_list(draft, "argv", "argv_base64", command, n);
    log_set_quiet(draft->quiet);
    return 0;
}

static int add_workdir_of_here(struct run_draft *draft, struct error *err)
{
    char directory[4096];
    if (!draft->here || draft->has_workdir)
        return 0;
    if (!getcwd(directory, sizeof(directory)))
        return fail(err, ERROR_SYSTEM, errno, "--here: ");
    run_draft_string(draft, "workdir", directory);
    return 0;
}

static int failed(const struct error *err)
{
    log_error("%s", err->text);
    return error_exit_status(err->code);
}

int run_draft_operand(struct run_draft *draft, const char *verb, const char *operand,
                      struct error *err)
{
    draft->exec = streq(verb, "exec");
    if (!draft->exec)
        return run_draft_template(draft, operand, err);
    if (!text_is_utf8(operand, strlen(operand)))
        return fail(err, ERROR_INVALID, EILSEQ, "exec: the sandbox's name is not valid UTF-8");
    run_draft_string(draft, "sandbox", operand);
    return 0;
}

int run_draft_check(struct run_draft *draft, const char *verb, struct error *err)
{
    bool shell = streq(verb, "shell");
    if (shell && isatty(STDIN_FILENO) && !draft->detach)
        draft->tty = true;
    if (shell && !run_draft_has(draft, "entrypoint"))
        run_draft_string(draft, "entrypoint", ""); /* a shell, whatever the template starts */
    if (draft->detach && draft->receipt_path)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--receipt tells what came of a command that is waited for; of a detached "
                    "one ask `isolate wait`");
    if (draft->detach && (draft->pre_hook || draft->post_hook))
        return fail(err, ERROR_INVALID, EINVAL,
                    "%s: hooks are run by who waits for the command; of a detached one nobody "
                    "does: leave out -d",
                    draft->pre_hook ? "--pre-hook" : "--post-hook");
    return add_workdir_of_here(draft, err);
}

int run_draft_go(struct run_draft *draft, char *const *command, size_t n)
{
    struct error err = {0};
    _cleanup_run_outcome_ struct run_outcome outcome = {0};
    _cleanup_close_ int receipt_fd = -EBADF;
    struct varlink varlink = {.fd = -EBADF};
    if (draft->no_isolation && getuid() == 0) /* nobody else may */
        log_warning("engine chroot does not isolate: the command is root of this machine");
    int r = run_draft_finish(draft, command, n, &err);
    if (r == 0)
        r = run_receipt_open(draft, &receipt_fd, &err);
    if (r < 0)
        return failed(&err);
    r = client_connect(&varlink, &err);
    if (r < 0)
        outcome = (struct run_outcome){.failure = err, .status = error_exit_status(err.code)};
    else
        run_execute(&varlink, draft, &outcome);
    int status = run_report(draft, receipt_fd, &outcome);
    varlink_clear(&varlink);
    return status;
}

static int note_ctl_option(void *data, enum option_id id, const char *value, struct error *err)
{
    bool *found = data;
    *found = *found || id == OPTION_EXPLAIN || id == OPTION_SPEC || id == OPTION_JSON ||
             (id == OPTION_SECCOMP && !name_is_filter(value));
    return 0;
}

bool run_is_for_ctl(const char *verb, int argc, char **argv)
{
    struct error err;
    bool found = false;
    int first = 0;
    bool perhaps = false;
    for (int i = 0; i < argc; i++)
        perhaps = perhaps || text_after(argv[i], "--explain") ||
                  text_after(argv[i], "--spec") || text_after(argv[i], "--seccomp") ||
                  text_after(argv[i], "--json");
    char **copy = perhaps ? calloc((size_t)argc + 1, sizeof(*copy)) : NULL;
    if (!copy)
        return false;
    memcpy(copy, argv, (size_t)argc * sizeof(*copy));
    /* what is wrong with them is said by who works with them */
    const struct option_call call = {
        .verb = verb_named(verb), .handler = note_ctl_option, .data = &found};
    if (options_parse(&call, argc, copy, &first, &err) < 0)
        errno = 0;
    free(copy);
    return found;
}

int run_main(const char *verb_name, int argc, char **argv)
{
    struct error err = {0};
    int first = 0;
    _cleanup_run_draft_ struct run_draft draft = {0};
    const struct verb *verb = verb_named(verb_name);
    const struct option_call call = {.verb = verb, .handler = run_draft_option, .data = &draft};
    int r = options_parse(&call, argc, argv, &first, &err);
    if (r == 1) {
        options_help(verb);
        return 0;
    }
    if (r == 0)
        r = run_draft_operand(&draft, verb_name, argv[first], &err);
    if (r == 0)
        r = run_draft_check(&draft, verb_name, &err);
    return r < 0 ? failed(&err)
                 : run_draft_go(&draft, argv + first + 1, (size_t)(argc - first - 1));
}
