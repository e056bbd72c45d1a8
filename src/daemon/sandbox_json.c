/* SPDX-License-Identifier: Apache-2.0 */
/* What the replies of Run, Wait and their like say of a sandbox. Runs in isolated as root. */
#include "daemon/sandbox.h"

#include "daemon/usage.h"
#include "sys/process.h"

static json_t *usage_to_json(const struct sandbox *sandbox)
{
    const struct rusage *usage = &sandbox->body.usage;
    json_t *object = json_pack(
        "{s:I, s:I, s:I, s:I}", "user_us",
        (json_int_t)usage->ru_utime.tv_sec * 1000000 + usage->ru_utime.tv_usec, "system_us",
        (json_int_t)usage->ru_stime.tv_sec * 1000000 + usage->ru_stime.tv_usec, "max_rss_bytes",
        (json_int_t)usage->ru_maxrss * 1024, "wall_us",
        (json_int_t)(sandbox->ended_us - sandbox->started_us));
    usage_add(sandbox->body.cgroup_fd, object);
    return object;
}

json_t *sandbox_identity_to_json(const struct sandbox *sandbox, const char *state)
{
    const struct record *record = &sandbox->body.record;
    return json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s}", "state", state, "id", record->id,
                     "name", record->name, "template",
                     *record->template_name ? record->template_name
                     : record->root         ? record->root
                                            : "",
                     "generation", record->generation, "engine", record->engine, "storage",
                     record->storage);
}

static json_t *exit_to_json(const struct sandbox *sandbox)
{
    switch (sandbox->exit_kind) {
    case EXIT_KIND_EXITED:
        return json_pack("{s:s, s:i}", "kind", "exited", "code", sandbox->exit_detail);
    case EXIT_KIND_SIGNALED:
        return json_pack("{s:s, s:i}", "kind", "signaled", "signal", sandbox->exit_detail);
    case EXIT_KIND_TIMEOUT:
    case EXIT_KIND_CPU_TIME:
        return json_pack("{s:s}", "kind", exit_kind_name(sandbox->exit_kind));
    default:
        return sandbox->killed ? json_pack("{s:s, s:i}", "kind", "signaled", "signal", SIGKILL)
                               : json_pack("{s:s}", "kind", "lost");
    }
}

json_t *sandbox_ended_to_json(const struct sandbox *sandbox)
{
    json_t *reply = sandbox_identity_to_json(sandbox, "ended");
    if (!reply)
        return NULL;
    (void)json_object_set_new(reply, "usage", usage_to_json(sandbox));
    (void)json_object_set_new(reply, "exit", exit_to_json(sandbox));
    json_t *reached = usage_reached(sandbox->body.cgroup_fd, sandbox->exit_kind);
    if (sandbox->request.usage)
        usage_add_disk(&sandbox->body, reached);
    (void)json_object_set_new(reply, "reached", reached);
    (void)json_object_set_new(reply, "kept", json_boolean(sandbox->body.kept));
    (void)json_object_set_new(reply, "started_us",
                              json_integer((json_int_t)sandbox->started_at_us));
    (void)json_object_set_new(reply, "ended_us", json_integer((json_int_t)time_wall_us()));
    return reply;
}
