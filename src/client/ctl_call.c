/* SPDX-License-Identifier: Apache-2.0 */
/* Calls of isolate-ctl. Runs as the caller. */
#include "client/ctl.h"

#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"

#include <string.h>

static int reply_error(const json_t *reply, struct error *err)
{
    const char *name = json_string_value(json_object_get(reply, "error"));
    const json_t *parameters = json_object_get(reply, "parameters");
    const char *message = json_string_value(json_object_get(parameters, "message"));
    const char *dot = name ? strrchr(name, '.') : NULL;
    int errnum = (int)json_integer_value(json_object_get(parameters, "errno"));
    return fail(err, error_code_from_name(dot ? dot + 1 : ""), errnum, "%s",
                message ? message : name);
}

/* What the caller should hear of although the call has gone on. */
static void print_warnings(const json_t *parameters)
{
    size_t i = 0;
    const json_t *text = NULL;
    json_array_foreach(json_object_get(parameters, "warnings"), i, text)
        log_warning("%s", json_string_value(text) ? json_string_value(text) : "");
}

/* One reply: 1 if it is the last one. */
static int receive(struct varlink *varlink, const struct ctl_call *call, json_t **ret,
                   struct error *err)
{
    const char *text = NULL;
    int r = varlink_receive(varlink, true, &text);
    if (r <= 0)
        return fail(err, ERROR_LOST, r,
                    "%s: isolated ended without an answer; see `isolate "
                    "doctor`",
                    call->method);
    json_t *reply = json_loads(text, 0, NULL);
    if (!reply)
        return fail(err, ERROR_PROTOCOL, EPROTO, "%s: isolated sent no JSON", call->method);
    r = 1;
    if (json_object_get(reply, "error")) {
        r = reply_error(reply, err);
    } else if (json_is_true(json_object_get(reply, "continues"))) {
        if (call->on_more)
            call->on_more(call->data, json_object_get(reply, "parameters"));
        r = 0;
    } else {
        *ret = json_incref(json_object_get(reply, "parameters"));
        print_warnings(*ret);
    }
    json_decref(reply);
    return r;
}

int ctl_call(struct varlink *varlink, const struct ctl_call *call, json_t **ret,
             struct error *err)
{
    char method[64];
    (void)snprintf(method, sizeof(method), "io.isolate.%s", call->method);
    json_t *message = json_pack("{s:s, s:o}", "method", method, "parameters", call->parameters);
    if (message && call->on_more)
        (void)json_object_set_new(message, "more", json_true());
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (!text)
        return fail(err, ERROR_INVALID, EILSEQ, "%s: an argument is not valid UTF-8",
                    call->method);
    const int *fds = call->fds ? call->fds->fds : &call->fd;
    size_t n = call->fds ? call->fds->n : call->fd >= 0 ? 1 : 0;
    int r = varlink_send(varlink, text, strlen(text), fds, n);
    free(text);
    if (r < 0 && r != -EPIPE)
        return fail(err, ERROR_SYSTEM, r, "%s: ", call->method);
    do
        r = receive(varlink, call, ret, err);
    while (r == 0);
    return r < 0 ? r : 0;
}

int ctl_progress_fd(bool quiet)
{
    return quiet || geteuid() != 0 ? -EBADF : STDERR_FILENO;
}

/* For the call, whose parameters are gone where that fails. */
static int connect_for(struct varlink *ret, const struct ctl_call *call, struct error *err)
{
    int r = call->parameters ? client_connect(ret, err)
                             : fail(err, ERROR_INVALID, EILSEQ,
                                    "%s: an argument is not valid UTF-8", call->method);
    if (r < 0)
        json_decref(call->parameters);
    return r;
}

int ctl_ask(const struct ctl_call *call, json_t **ret, struct error *err)
{
    struct varlink varlink = {.fd = -EBADF};
    int r = connect_for(&varlink, call, err);
    if (r == 0)
        r = ctl_call(&varlink, call, ret, err);
    varlink_clear(&varlink);
    return r;
}

int ctl_failed(const struct error *err)
{
    log_error("%s", err->text);
    return error_exit_status(err->code);
}

static int add_filter(struct ctl_options *options, const char *value, struct error *err)
{
    static const char *const keys[] = {"id=", "name=", "state=", "template=", "owner="};
    bool known = false;
    for (size_t i = 0; i < ELEMENTS(keys); i++)
        known = known || text_after(value, keys[i]);
    if (!known || options->n_filters == ELEMENTS(options->filters))
        return fail(err, ERROR_INVALID, EINVAL,
                    known ? "--filter: at most 8 of them"
                          : "--filter \"%.60s\": write KEY=VALUE, KEY one of id, name, state, "
                            "template, owner",
                    value);
    options->filters[options->n_filters++] = value;
    return 0;
}

static int on_option(void *data, enum option_id id, const char *value, struct error *err)
{
    struct ctl_options *options = data;
    switch ((int)id) {
    case OPTION_ALL:
        options->all = true;
        return 0;
    case OPTION_JSON:
        options->json = true;
        return 0;
    case OPTION_HASH:
        options->hash = true;
        return 0;
    case OPTION_KEPT:
        options->kept = true;
        return 0;
    case OPTION_FOR:
        options->user = value;
        return 0;
    case OPTION_QUIET:
        options->quiet = true;
        log_set_quiet(true);
        return 0;
    case OPTION_FROM:
        options->from = value;
        return 0;
    case OPTION_TO:
        options->to = value;
        return 0;
    case OPTION_SINCE:
        options->since = value;
        return 0;
    case OPTION_NATIVE:
        options->native = true;
        return 0;
    case OPTION_STORAGE:
        options->storage = value;
        return 0;
    case OPTION_SIGNAL:
        options->signal = value;
        return 0;
    case OPTION_SECONDS:
        options->seconds = value;
        return 0;
    case OPTION_DETACH_KEYS:
        options->detach_keys = value;
        return 0;
    case OPTION_NO_STDIN:
        options->no_stdin = true;
        return 0;
    case OPTION_FOLLOW:
        options->follow = true;
        return 0;
    case OPTION_FILTER:
        return add_filter(options, value, err);
    default:
        return fail(err, ERROR_INVALID, EINVAL, "option %d is not handled", (int)id);
    }
}

static void disconnect(struct ctl_verb *verb)
{
    if (verb->is_connected)
        varlink_clear(&verb->varlink);
    verb->is_connected = false;
}

void ctl_verb_clear(struct ctl_verb *verb)
{
    json_decref(verb->reply);
    verb->reply = NULL;
    disconnect(verb);
}

bool ctl_verb_begin(struct ctl_verb *verb, const char *name, int argc, char **argv)
{
    struct error err = {0};
    int first = 0;
    const struct option_call call = {
        .verb = verb_named(name), .handler = on_option, .data = &verb->options};
    int r = options_parse(&call, argc, argv, &first, &err);
    if (r == 0) {
        verb->operands = argv + first;
        verb->n_operands = argc - first;
        return true;
    }
    if (r == 1)
        options_help(call.verb);
    verb->status = r == 1 ? 0 : ctl_failed(&err);
    return false;
}

/* Calls over the connection of the calls before, so that a one-shot serves all of them. */
static int call_again(struct ctl_verb *verb, const struct ctl_call *call, struct error *err)
{
    int r = verb->is_connected ? 0 : connect_for(&verb->varlink, call, err);
    if (r < 0)
        return r;
    verb->is_connected = true;
    r = ctl_call(&verb->varlink, call, &verb->reply, err);
    if (r < 0) /* what has refused to serve says only once why */
        disconnect(verb);
    return r;
}

bool ctl_verb_call(struct ctl_verb *verb, const struct ctl_call *call)
{
    struct error err = {0};
    json_decref(verb->reply);
    verb->reply = NULL;
    if (call_again(verb, call, &err) == 0)
        return true;
    verb->why = err.code;
    verb->status = ctl_failed(&err);
    return false;
}

bool ctl_verb_ask(struct ctl_verb *verb, const char *method, json_t *take_parameters)
{
    const struct ctl_call call = {
        .method = method, .parameters = take_parameters, .fd = -EBADF};
    return ctl_verb_call(verb, &call);
}

const json_t *ctl_verb_reply(const struct ctl_verb *verb, const char *key)
{
    return json_object_get(verb->reply, key);
}

const char *ctl_verb_text(const struct ctl_verb *verb, const char *key)
{
    return json_string_value(ctl_verb_reply(verb, key));
}
