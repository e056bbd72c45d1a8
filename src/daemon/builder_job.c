/* SPDX-License-Identifier: Apache-2.0 */
/* One order on its way to a builder, and what comes back of it. Runs in isolated as root;
 * builders are trusted. */
#include "daemon/builder_job.h"

#include "sys/fd.h"

#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>

bool job_builds(const struct job *job)
{
    return job->type == BUILDER_BUILD || job->type == BUILDER_CLONE ||
           job->type == BUILDER_VIEW;
}

static json_t *order_to_json(const struct job *job, struct fd_list *list)
{
    if (job->type == BUILDER_RECOVER)
        return json_object();
    struct body body = *job->body;
    if (job->type != BUILDER_DESTROY)
        body.kept_lock_fd = -EBADF; /* of a kept one that is started: it stays ours */
    json_t *value = body_to_json(&body, list);
    if (job_builds(job) && job->build.one_off_root >= 0)
        list->fds[list->n++] = job->build.one_off_root;
    return value;
}

/* What the builder has now is no longer ours. */
static void forget(const struct job *job)
{
    struct body *body = job->body;
    if (body)
        body->view_fd = fd_close(body->view_fd);
    if (job->type != BUILDER_SETTLE && job->type != BUILDER_DESTROY)
        return;
    body->cgroup_fd = fd_close(body->cgroup_fd);
    body->root_fd = fd_close(body->root_fd);
    if (job->type == BUILDER_SETTLE)
        return;
    body->lock_fd = fd_close(body->lock_fd);
    body->kept_lock_fd = fd_close(body->kept_lock_fd);
    body->has_ids = false;
}

/* Builders have isolated's configuration, not what the files say by the time they look. */
int job_send_config(const struct config *config, int link_fd, uint32_t id)
{
    const struct packet packet = {.type = BUILDER_RELOAD, .id = id};
    _cleanup_buffer_ struct buffer text = {0};
    config_print(config, &text);
    return text.failed ? -ENOMEM
                       : packet_send(link_fd, &packet, text.data, text.length, MSG_DONTWAIT);
}

int job_send(const struct job *job, const struct config *config, int link_fd)
{
    struct packet packet = {.type = job->type, .id = job->id};
    if (job->type == BUILDER_RELOAD)
        return job_send_config(config, link_fd, job->id);
    json_t *value = order_to_json(job, &packet.fds);
    char *text = value ? json_dumps(value, JSON_COMPACT) : NULL;
    json_decref(value);
    int r = text ? packet_send(link_fd, &packet, text, strlen(text), MSG_DONTWAIT) : -ENOMEM;
    free(text);
    if (r == 0)
        forget(job);
    return r;
}

int job_take_result(struct job *job, struct packet *packet, struct error *err)
{
    json_t *value = json_loadb(packet->payload.data ? packet->payload.data : "",
                               packet->payload.length, 0, NULL);
    int r = packet->value;
    pid_t pid = (pid_t)json_integer_value(json_object_get(value, "pid"));
    if (r < 0) {
        const char *text = json_string_value(json_object_get(value, "text"));
        *err = (struct error){
            .code = (enum error_code)json_integer_value(json_object_get(value, "code")),
            .errnum = (int)json_integer_value(json_object_get(value, "errno")),
        };
        (void)snprintf(err->text, sizeof(err->text), "%s", text ? text : "the builder failed");
        if (pid > 0)
            (void)waitpid(pid, NULL, WNOHANG);
        job->is_left =
            job->type == BUILDER_DESTROY || json_is_true(json_object_get(value, "left"));
    } else if (job->type == BUILDER_SETTLE) {
        settled_from_json(value, &packet->fds, job->body);
    } else if (job_builds(job)) {
        r = built_from_json(value, &packet->fds, job->body);
        if (r < 0)
            r = fail(err, ERROR_PROTOCOL, r, "builder: ");
    }
    json_decref(value);
    return r;
}
