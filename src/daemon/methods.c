/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of io.isolate: who may call what, with how many fds, how long, in one table;
 * checks of that kind happen here and only here. Runs in isolated as root; calls are the
 * client's. */
#include "daemon/methods.h"

#include "base/text.h"
#include "daemon/apart.h"
#include "daemon/builder.h"
#include "daemon/pool.h"
#include "daemon/sandbox.h"

#define ANY_FDS SOCKET_FDS_MAX

/* Without MEMBERS a method is for root only, by no policy for others. */
enum method_flag {
    MEMBERS = 1 << 0,         /* those of the group may call it, for what is their own */
    SEVERAL_REPLIES = 1 << 1, /* called with more */
    APART = 1 << 2,           /* reads and writes a lot: in a process of its own */
    CHANGES = 1 << 3,         /* makes or removes templates */
    COMMAND = 1 << 4,         /* carries a command and its environment: megabytes */
};

struct method {
    const char *name;
    uint32_t flags; /* enum method_flag */
    size_t max_fds;
    int (*handler)(struct call *call, struct error *err);
};

static const struct method methods[] = {
    {"org.varlink.service.GetInfo", MEMBERS, 0, method_get_info},
    {"org.varlink.service.GetInterfaceDescription", MEMBERS, 0, method_get_interface},
    {"io.isolate.Run", MEMBERS | SEVERAL_REPLIES | COMMAND, ANY_FDS, sandbox_run},
    {"io.isolate.Explain", MEMBERS | APART | COMMAND, ANY_FDS, method_explain},
    {"io.isolate.Continue", MEMBERS | SEVERAL_REPLIES, 0, sandbox_continue},
    {"io.isolate.Release", MEMBERS, 0, sandbox_release_named},
    {"io.isolate.Exec", MEMBERS | COMMAND, 1, method_exec},
    {"io.isolate.Kill", MEMBERS, 0, method_kill},
    {"io.isolate.Wait", MEMBERS, 0, method_wait},
    {"io.isolate.Attach", MEMBERS, 1, method_attach},
    {"io.isolate.Logs", MEMBERS, 0, method_logs},
    {"io.isolate.Policy", MEMBERS | APART, 0, method_policy},
    {"io.isolate.PoolList", MEMBERS, 0, method_pool_list},
    {"io.isolate.PoolSet", 0, 0, method_pool_set},
    {"io.isolate.PoolRefresh", 0, 0, method_pool_refresh},
    {"io.isolate.PoolDrain", 0, 0, method_pool_drain},
    {"io.isolate.EngineList", MEMBERS | APART, 0, method_engine_list},
    {"io.isolate.List", MEMBERS | APART, 0, method_list},
    {"io.isolate.Inspect", MEMBERS | APART, 0, method_inspect},
    {"io.isolate.Remove", MEMBERS | APART, 0, method_remove},
    {"io.isolate.Diff", MEMBERS | APART | SEVERAL_REPLIES, 0, method_diff},
    {"io.isolate.Commit", APART | CHANGES, 0, method_commit},
    {"io.isolate.Prune", APART, 0, method_prune},
    {"io.isolate.Status", APART, 0, method_status},
    {"io.isolate.PoolStock", APART, 0, method_pool_stock},
    {"io.isolate.StorageList", APART, 0, method_storage_list},
    {"io.isolate.StorageForget", APART | CHANGES, 0, method_storage_forget},
    {"io.isolate.TemplateAdopt", APART | CHANGES, 0, method_template_adopt},
    {"io.isolate.TemplateCreate", APART | CHANGES, 1, method_template_create},
    {"io.isolate.TemplateList", MEMBERS | APART, 0, method_template_list},
    {"io.isolate.TemplateInspect", MEMBERS | APART, 0, method_template_inspect},
    {"io.isolate.TemplateHash", APART, 1, method_template_hash},
    {"io.isolate.TemplateExport", APART, 2, method_template_export},
    {"io.isolate.TemplateSend", APART, 2, method_template_send},
    {"io.isolate.TemplateReceive", APART | CHANGES, 2, method_template_receive},
    {"io.isolate.TemplateRemove", APART | CHANGES, 0, method_template_remove},
    {"io.isolate.TemplateSnapshot", APART | CHANGES, 0, method_template_snapshot},
    {"io.isolate.TemplateRollback", APART | CHANGES, 0, method_template_rollback},
};

/* "io.isolate.PoolSet": "pool set", as people type it. */
static void verb_of(const char *method, char *out, size_t size)
{
    static const struct {
        const char *method;
        const char *typed;
    } others[] = {
        {"io.isolate.Explain", "run --explain"},
        {"io.isolate.TemplateAdopt", "isolate -r"},
        {"io.isolate.PoolStock", "isolate -r"},
        {"io.isolate.TemplateHash", "template inspect --hash"},
        {"io.isolate.TemplateRemove", "template rm"},
    };
    for (size_t i = 0; i < ELEMENTS(others); i++)
        if (streq(others[i].method, method)) {
            (void)snprintf(out, size, "%s", others[i].typed);
            return;
        }
    const char *last = strrchr(method, '.');
    size_t o = 0;
    for (const char *p = last ? last + 1 : method; *p && o + 2 < size; p++) {
        bool capital = *p >= 'A' && *p <= 'Z';
        if (capital && o > 0)
            out[o++] = ' ';
        out[o++] = (char)(capital ? *p - 'A' + 'a' : *p);
    }
    out[o] = '\0';
}

/* What may be left out of a call, or be null. Of another type it would be taken for left out,
 * and a whole template be removed instead of a generation. What else calls have is looked at by
 * who decodes it. */
static const struct optional {
    const char *method;
    const char *name;
    bool is_text; /* else a boolean */
} optionals[] = {
    {"io.isolate.List", "all", false},
    {"io.isolate.List", "stats", false},
    {"io.isolate.Policy", "template", true},
    {"io.isolate.Policy", "user", true},
    {"io.isolate.PoolDrain", "template", true},
    {"io.isolate.PoolRefresh", "template", true},
    {"io.isolate.PoolStock", "used", false},
    {"io.isolate.Prune", "kept", false},
    {"io.isolate.TemplateCreate", "origin", true},
    {"io.isolate.TemplateCreate", "storage", true},
    {"io.isolate.TemplateExport", "generation", true},
    {"io.isolate.TemplateExport", "tag", true},
    {"io.isolate.TemplateHash", "generation", true},
    {"io.isolate.TemplateInspect", "generation", true},
    {"io.isolate.TemplateReceive", "storage", true},
    {"io.isolate.TemplateRemove", "generation", true},
    {"io.isolate.TemplateSend", "generation", true},
    {"io.isolate.TemplateSend", "native", false},
    {"io.isolate.TemplateSend", "since", true},
};

static int check_optionals(const struct call *call, struct error *err)
{
    for (size_t i = 0; i < ELEMENTS(optionals); i++) {
        const struct optional *optional = &optionals[i];
        const json_t *value = json_object_get(call->parameters, optional->name);
        if (!value || json_is_null(value) || !streq(call->method, optional->method))
            continue;
        if (optional->is_text ? !json_is_string(value) : !json_is_boolean(value))
            return fail(err, ERROR_INVALID, EINVAL, "%s: \"%s\" is no %s", call->method,
                        optional->name, optional->is_text ? "string" : "boolean");
    }
    return 0;
}

static const struct method *find_method(const char *name)
{
    for (size_t i = 0; i < ELEMENTS(methods); i++)
        if (streq(name, methods[i].name))
            return &methods[i];
    return NULL;
}

int methods_check_length(const char *name, size_t length, struct error *err)
{
    const struct method *method = find_method(name);
    if (length <= CALL_LENGTH_MAX || (method && (method->flags & COMMAND)))
        return 0;
    return fail(err, ERROR_PROTOCOL, EMSGSIZE,
                "%s: a message of %zu bytes; only what carries a command may have more than %u",
                method ? method->name : "a method that is not known", length, CALL_LENGTH_MAX);
}

static int check_call(const struct call *call, const struct method *method, struct error *err)
{
    char verb[64];
    verb_of(call->method, verb, sizeof(verb));
    if (!(method->flags & MEMBERS) && call->peer->uid != 0)
        return fail(err, ERROR_DENIED, EPERM,
                    method->flags & CHANGES ? "%s: only root makes and changes templates"
                                            : "%s: is for root only",
                    verb);
    if (call->fds->n > method->max_fds)
        return fail(err, ERROR_PROTOCOL, EPROTO, "%s: too many fds", call->method);
    if ((method->flags & SEVERAL_REPLIES) && !call->more)
        return fail(err, ERROR_PROTOCOL, EPROTO, "%s has several replies: call it with more",
                    call->method);
    int r = methods_check_length(method->name, call->length, err);
    if (r == 0 && !(method->flags & COMMAND)) /* those look at each name themselves */
        r = methods_check_names(call, err);
    return r < 0 ? r : check_optionals(call, err);
}

void methods_killed(struct daemon *daemon, const char *name)
{
    const struct method *method = find_method(name);
    if (method && (method->flags & CHANGES))
        pool_templates_changed(daemon);
    if (method && !(method->flags & MEMBERS)) /* of a worker's record, too */
        builder_recover(daemon, NULL, NULL);
}

void methods_after(struct daemon *daemon, const char *method, const char *name)
{
    if (streq(method, "io.isolate.Commit") && name) {
        struct sandbox *held = sandbox_find_held(daemon, name);
        if (held)
            sandbox_release(held);
    }
    pool_look(daemon);
}

int methods_dispatch(struct call *call, struct error *err)
{
    char name[128];
    struct daemon *daemon = session_daemon(call->session);
    const struct method *method = find_method(call->method);
    if (method) {
        int r = check_call(call, method, err);
        if (r < 0)
            return r;
        if ((method->flags & APART) && daemon->resident)
            return apart_call(call, method->handler, err);
        r = method->handler(call, err);
        if (r == 0 && (method->flags & APART))
            methods_after(daemon, call->method, call_text(call, "name"));
        return r;
    }
    text_escape(name, sizeof(name), call->method);
    session_error(call->session, "org.varlink.service.MethodNotFound",
                  json_pack("{s:s, s:s, s:i}", "method", name, "message",
                            "isolated has no such method; is the client of another version?",
                            "errno", ENOSYS));
    return 0;
}

const char *call_text(const struct call *call, const char *name)
{
    return json_string_value(json_object_get(call->parameters, name));
}

int call_need_text(const struct call *call, const char *name, const char **ret,
                   struct error *err)
{
    *ret = call_text(call, name);
    if (!*ret)
        return fail(err, ERROR_INVALID, EINVAL, "%s: \"%s\" is missing or no string",
                    call->method, name);
    return 0;
}

int call_done(struct call *call, json_t *take_reply, struct error *err)
{
    if (!take_reply)
        return fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", call->method);
    session_reply(call->session, take_reply, false);
    return 0;
}

json_t *call_warnings(const struct call *call)
{
    return session_daemon(call->session)->resident ? json_array() : NULL;
}
