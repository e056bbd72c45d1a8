/* SPDX-License-Identifier: Apache-2.0 */
/* The methods of io.isolate: who may call what, with how many fds, in one table; checks of that
 * kind happen here and only here. Runs in isolated as root; calls are the client's. */
#include "daemon/methods.h"

#include "base/text.h"
#include "daemon/sandbox.h"

#define ANY_FDS SOCKET_FDS_MAX

static const struct {
    const char *name;
    bool root_only; /* until a policy says otherwise: issue of the resident daemon */
    bool more;      /* has several replies */
    size_t max_fds;
    int (*handler)(struct call *call, struct error *err);
} methods[] = {
    {"io.isolate.Run", false, true, ANY_FDS, sandbox_run},
    {"io.isolate.List", false, false, 0, method_list},
    {"io.isolate.Inspect", false, false, 0, method_inspect},
    {"io.isolate.Remove", false, false, 0, method_remove},
    {"io.isolate.Diff", false, true, 0, method_diff},
    {"io.isolate.Commit", true, false, 0, method_commit},
    {"io.isolate.Prune", true, false, 0, method_prune},
    {"io.isolate.Status", true, false, 0, method_status},
    {"io.isolate.TemplateCreate", true, false, 1, method_template_create},
    {"io.isolate.TemplateList", false, false, 0, method_template_list},
    {"io.isolate.TemplateInspect", false, false, 0, method_template_inspect},
    {"io.isolate.TemplateHash", true, false, 1, method_template_hash},
    {"io.isolate.TemplateRemove", true, false, 0, method_template_remove},
    {"io.isolate.TemplateSnapshot", true, false, 0, method_template_snapshot},
    {"io.isolate.TemplateRollback", true, false, 0, method_template_rollback},
};

int methods_dispatch(struct call *call, struct error *err)
{
    for (size_t i = 0; i < ELEMENTS(methods); i++) {
        if (!streq(call->method, methods[i].name))
            continue;
        if (methods[i].root_only && call->peer->uid != 0)
            return fail(err, ERROR_DENIED, EPERM, "%s is for root only", call->method);
        if (call->fds->n > methods[i].max_fds)
            return fail(err, ERROR_PROTOCOL, EPROTO, "%s: too many fds", call->method);
        if (methods[i].more && !call->more)
            return fail(err, ERROR_PROTOCOL, EPROTO,
                        "%s has several replies: call it with more", call->method);
        return methods[i].handler(call, err);
    }
    return fail(err, ERROR_PROTOCOL, ENOSYS,
                "isolated has no method %.60s; is the client of another version?",
                call->method);
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
