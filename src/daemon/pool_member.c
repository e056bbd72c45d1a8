/* SPDX-License-Identifier: Apache-2.0 */
/* The members of a shape: what is built ahead of time, parked or only cloned. Runs in isolated
 * as root. */
#include "base/log.h"
#include "daemon/builder.h"
#include "daemon/pool_shape.h"
#include "daemon/templates.h"
#include "sys/fd.h"

#include <string.h>

static void member_free(struct member *member)
{
    body_clear(&member->body);
    fd_close(member->root_fd);
    free(member);
}

/* A template that templates.d says is a directory. */
static int open_root(struct member *member, const struct template_config *template,
                     struct error *err)
{
    const struct shape *shape = member->shape;
    int r = storage_open(shape->storage, shape->daemon->state_fd, &member->body.storage, err);
    if (r < 0)
        return r;
    member->root_fd = template_open_root(template, err);
    if (member->root_fd < 0)
        return member->root_fd;
    member->body.record.root = strdup(template->root);
    return member->body.record.root ? 0 : fail(err, ERROR_SYSTEM, ENOMEM, "pool: ");
}

/* Where the template is now: it may have been removed and made anew elsewhere. */
static int open_template(struct member *member, struct error *err)
{
    struct shape *shape = member->shape;
    struct storage *storage = &member->body.storage;
    struct template_info info;
    if (pool_shape_is_rootless(shape)) {
        member->body.rootless = true;
        return storage_open(shape->storage, shape->daemon->state_fd, storage, err);
    }
    const struct template_config *template =
        config_template(&shape->daemon->config, shape->template_name);
    if (template && template->root)
        return open_root(member, template, err);
    int r = template_find(shape->daemon, shape->template_name, storage, &info, err);
    if (r < 0)
        return r;
    memcpy(shape->storage, storage->name, sizeof(shape->storage));
    (void)snprintf(member->body.record.template_name, sizeof(member->body.record.template_name),
                   "%s", shape->template_name);
    return body_take_defaults(&member->body, err);
}

static int fill(struct member *member, const char *state, struct error *err)
{
    const struct shape *shape = member->shape;
    struct body *body = &member->body;
    struct record *record = &body->record;
    body->host_network = shape->host_network;
    body->engine = shape->engine;
    int r = body->engine->probe ? body->engine->probe(NULL, err) : 0;
    if (r == 0)
        r = open_template(member, err);
    if (r < 0)
        return r;
    body_name(body, body->rootless ? "directory" : shape->template_name);
    (void)snprintf(record->template_name, sizeof(record->template_name), "%s",
                   shape->template_name);
    (void)snprintf(record->state, sizeof(record->state), "%s", state);
    (void)snprintf(record->storage, sizeof(record->storage), "%s", body->storage.name);
    (void)snprintf(record->engine, sizeof(record->engine), "%s", body->engine->name);
    return 0;
}

struct member *member_new(struct shape *shape, const char *state, struct error *err)
{
    struct member *member = calloc(1, sizeof(*member));
    if (!member) {
        (void)fail(err, ERROR_SYSTEM, ENOMEM, "pool: ");
        return NULL;
    }
    body_init(&member->body, shape->daemon);
    member->shape = shape;
    member->root_fd = -EBADF;
    if (fill(member, state, err) == 0)
        return member;
    member_free(member);
    return NULL;
}

static void on_gone(void *data, int result, struct error *err)
{
    member_free(data);
}

void member_end(struct member *member)
{
    body_end(&member->body);
    builder_destroy(&member->body, on_gone, member);
}
