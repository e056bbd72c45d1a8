/* SPDX-License-Identifier: Apache-2.0 */
/* run and shell where JSON is read or written: --explain and --spec. Everything else of them is
 * run.c's. Runs as the caller. */
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "client/explain_text.h"
#include "client/saved.h"
#include "spec/names.h"

#include <string.h>

struct run_call {
    const struct verb *verb;
    struct run_draft draft;
    bool explain;
    bool json;
    const char *spec;
    const char *profile;                  /* a file that --seccomp names */
    const struct option *not_beside_spec; /* the first one that was given */
};

/* What may stand beside --spec: what is the client's, and what has one value that simply counts
 * instead of the spec's. */
static bool goes_with_spec(enum option_id id)
{
    static const enum option_id good[] = {
        OPTION_EXPLAIN, OPTION_JSON,     OPTION_SPEC,     OPTION_INTERACTIVE, OPTION_TTY,
        OPTION_DETACH,  OPTION_RECEIPT,  OPTION_QUIET,    OPTION_NAME,        OPTION_TIMEOUT,
        OPTION_ENV,     OPTION_ENV_FILE, OPTION_PRE_HOOK, OPTION_POST_HOOK,
    };
    for (size_t i = 0; i < ELEMENTS(good); i++)
        if (good[i] == id)
            return true;
    return false;
}

static int on_option(void *data, enum option_id id, const char *value, struct error *err)
{
    struct run_call *call = data;
    if (!call->not_beside_spec && !goes_with_spec(id)) {
        const struct option *option = call->verb->options;
        while (option->id != id)
            option++;
        call->not_beside_spec = option;
    }
    switch ((int)id) {
    case OPTION_EXPLAIN:
        call->explain = true;
        return 0;
    case OPTION_JSON:
        call->json = true;
        return 0;
    case OPTION_SPEC:
        if (call->spec)
            return fail(err, ERROR_INVALID, EINVAL, "--spec: give one file");
        call->spec = value;
        return 0;
    case OPTION_SECCOMP:
        call->profile = name_is_filter(value) ? NULL : value;
        return call->profile ? 0 : run_draft_option(&call->draft, id, value, err);
    default:
        return run_draft_option(&call->draft, id, value, err);
    }
}

static int draft_spec(struct run_call *call, char *const *operands, int n, struct error *err)
{
    json_t *spec = NULL;
    if (n > 0)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--spec %s: says what is run, and on what; leave \"%s\" out", call->spec,
                    operands[0]);
    if (call->not_beside_spec)
        return fail(err, ERROR_INVALID, EINVAL,
                    "--spec %s: --%s cannot be given beside it; change the spec itself",
                    call->spec, call->not_beside_spec->name);
    int r = spec_read(call->spec, &spec, err);
    if (r == 0)
        r = spec_draft(call->spec, spec, &call->draft, err);
    json_decref(spec);
    return r;
}

/* The request as it would be sent. */
static json_t *request_of(const struct run_draft *draft, struct error *err)
{
    json_error_t where;
    _cleanup_buffer_ struct buffer text = {0};
    buffer_append_char(&text, '{');
    run_draft_write(draft, &text);
    buffer_append_char(&text, '}');
    json_t *request = text.failed ? NULL : json_loadb(text.data, text.length, 0, &where);
    if (!request)
        (void)fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
    return request;
}

static int ask(const struct run_draft *draft, json_t *request, json_t **ret, struct error *err)
{
    const struct ctl_call call = {
        .method = "Explain",
        .parameters = json_pack("{s:O}", "request", request),
        .fd = -EBADF,
        .fds = &draft->fds,
    };
    return ctl_ask(&call, ret, err);
}

/* A path that JSON cannot hold is none that can be opened later. */
static void warn_of_binds(const json_t *spec)
{
    size_t index = 0;
    const json_t *bind = NULL;
    json_array_foreach(json_object_get(spec, "binds"), index, bind)
    {
        const char *source = json_string_value(json_object_get(bind, "source"));
        if (source && source[0] != '/')
            log_warning("the path of the bind at %s is not UTF-8: this spec cannot be run",
                        json_string_value(json_object_get(bind, "target")));
    }
}

static int explain(struct run_call *call, char *const *command, size_t n)
{
    struct error err = {0};
    json_t *reply = NULL;
    int r = run_draft_finish(&call->draft, command, n, &err);
    json_t *request = r < 0 ? NULL : request_of(&call->draft, &err);
    r = request ? ask(&call->draft, request, &reply, &err) : -1;
    if (r < 0) {
        json_decref(request);
        return ctl_failed(&err);
    }
    json_t *spec = spec_of_request(request);
    json_t *document = json_pack("{s:i, s:O, s:o}", "version", 1, "plan",
                                 json_object_get(reply, "plan"), "spec", spec);
    if (call->json) {
        warn_of_binds(spec);
        ctl_print_json(document);
    } else {
        explain_print(json_object_get(reply, "plan"));
    }
    json_decref(document);
    json_decref(request);
    json_decref(reply);
    return 0;
}

int ctl_run(int argc, char **argv)
{
    struct error err = {0};
    int first = 0;
    struct run_call call = {.verb = verb_named(argv[0])};
    const struct option_call options = {
        .verb = call.verb, .any_operands = true, .handler = on_option, .data = &call};
    int r = options_parse(&options, argc - 1, argv + 1, &first, &err);
    char **operands = argv + 1 + first;
    int n = argc - 1 - first;
    if (r == 1)
        options_help(call.verb);
    if (r == 0 && call.json && !call.explain)
        r = fail(&err, ERROR_INVALID, EINVAL, "%s: --json goes with --explain", argv[0]);
    if (r == 0 && call.spec)
        r = draft_spec(&call, operands, n, &err);
    if (r == 0 && !call.spec)
        r = options_check_operands(call.verb, n, &err);
    if (r == 0 && !call.spec)
        r = run_draft_operand(&call.draft, argv[0], operands[0], &err);
    if (r == 0 && call.profile)
        r = run_draft_profile(&call.draft, call.profile, &err);
    if (r == 0)
        r = run_draft_check(&call.draft, argv[0], &err);
    int skip = call.spec ? 0 : 1;
    int status = r == 1  ? 0
                 : r < 0 ? ctl_failed(&err)
                 : call.explain
                     ? explain(&call, operands + skip, (size_t)(n - skip))
                     : run_draft_go(&call.draft, operands + skip, (size_t)(n - skip));
    run_draft_clear(&call.draft);
    return status;
}
