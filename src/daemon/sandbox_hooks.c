/* SPDX-License-Identifier: Apache-2.0 */
/* Sandboxes whose caller has hooks: the caller's own commands on the host, which the client
 * runs. isolated only waits for them, for as long as the connection is there, and gives the
 * client a mount of the clone. Runs in isolated as root; who calls may never say more, or lie
 * about what a hook did: nothing here depends on it. */
#include "daemon/sandbox.h"

#include "base/text.h"
#include "daemon/methods.h"

#include <string.h>

/* It runs on a directory that is no clone: root sees that as it is. */
static bool is_itself(const struct body *body)
{
    return body->record.root && !(body->storage.driver->capabilities & STORAGE_DISPOSABLE);
}

int sandbox_check_hooks(struct sandbox *sandbox, struct error *err)
{
    const struct run_request *request = &sandbox->request;
    struct body *body = &sandbox->body;
    body->views = request->pre_hook || request->post_hook;
    if (!body->views || (body->record.owner_uid == 0 && is_itself(body)))
        return 0;
    return storage_require(&body->storage, STORAGE_VIEWS, "show a clone to hooks", err);
}

/* The last reply of this call; the clone waits for the next one. */
static void reply_held(struct sandbox *sandbox, json_t *take_reply)
{
    const struct body *body = &sandbox->body;
    if (take_reply && body->view_fd >= 0)
        (void)json_object_set_new(take_reply, "view", json_integer(0));
    else if (take_reply && body->views && is_itself(body))
        (void)json_object_set_new(take_reply, "root", json_string(body->record.root));
    if (body->view_fd >= 0)
        session_reply_fd(sandbox->session, take_reply, body->view_fd);
    else
        session_reply(sandbox->session, take_reply, false);
}

void sandbox_hold(struct sandbox *sandbox)
{
    sandbox->state = SANDBOX_HELD;
    reply_held(sandbox, sandbox_identity_to_json(sandbox, "held"));
}

void sandbox_hold_ended(struct sandbox *sandbox)
{
    sandbox->state = SANDBOX_ENDED;
    reply_held(sandbox, TAKE_PTR(sandbox->reply));
}

static int find_own(const struct call *call, struct sandbox **ret, struct error *err)
{
    const char *id = NULL;
    int r = call_need_text(call, "id", &id, err);
    if (r < 0)
        return r;
    struct sandbox *sandbox = *session_sandboxes(call->session);
    while (sandbox && !streq(sandbox->body.record.id, id))
        sandbox = sandbox->next_of_session;
    *ret = sandbox;
    return sandbox ? 0
                   : fail(err, ERROR_NOT_FOUND, ENOENT,
                          "\"%.80s\": this connection holds no such sandbox", id);
}

int sandbox_continue(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    int r = find_own(call, &sandbox, err);
    if (r < 0)
        return r;
    if (sandbox->state != SANDBOX_HELD)
        return fail(err, ERROR_INVALID, EINVAL, "sandbox %s does not wait to be continued",
                    sandbox->body.record.id);
    sandbox->state = SANDBOX_BUILDING;
    sandbox->built = false;
    sandbox->let_go = true;
    sandbox_build(sandbox);
    return 0;
}

int sandbox_release_named(struct call *call, struct error *err)
{
    struct sandbox *sandbox = NULL;
    int r = find_own(call, &sandbox, err);
    if (r < 0)
        return r;
    if (sandbox->state != SANDBOX_HELD && sandbox->state != SANDBOX_ENDED)
        return fail(err, ERROR_INVALID, EINVAL, "sandbox %s is not held: see Kill",
                    sandbox->body.record.id);
    struct body *body = &sandbox->body;
    if (sandbox->state == SANDBOX_HELD) /* the command never ran */
        body->kept = body->restarted;
    sandbox->reply = json_pack("{s:s, s:b}", "id", body->record.id, "kept", (int)body->kept);
    sandbox_release(sandbox);
    return 0;
}
