/* SPDX-License-Identifier: Apache-2.0 */
/* Bodies between isolated and its builders: JSON, and fds whose names are listed in it. Both
 * ends are root and of one installation. */
#include "daemon/builder.h"

#include "base/text.h"

#include <string.h>

/* The fds of a body, by name. */
static int *fd_slot(struct body *body, const char *name)
{
    const struct {
        const char *name;
        int *fd;
    } slots[] = {
        {"lock", &body->lock_fd},          {"kept_lock", &body->kept_lock_fd},
        {"cgroup", &body->cgroup_fd},      {"root", &body->root_fd},
        {"park", &body->instance.park_fd}, {"pidfd", &body->instance.pidfd},
        {"view", &body->view_fd},          {"userns", &body->instance.userns_fd},
    };
    for (size_t i = 0; i < ELEMENTS(slots); i++)
        if (streq(name, slots[i].name))
            return slots[i].fd;
    return NULL;
}

static json_t *list_fds(const struct body *body, struct fd_list *list)
{
    static const char *const names[] = {"lock", "kept_lock", "cgroup", "root",
                                        "park", "pidfd",     "view",   "userns"};
    json_t *named = json_array();
    for (size_t i = 0; i < ELEMENTS(names); i++) {
        int fd = *fd_slot((struct body *)body, names[i]);
        /* it maps the root, which is there already but with those */
        if (fd < 0 || (streq(names[i], "userns") && !body->rootless))
            continue;
        list->fds[list->n++] = fd;
        (void)json_array_append_new(named, json_string(names[i]));
    }
    return named;
}

static int take_fds(json_t *value, struct fd_list *list, struct body *body)
{
    size_t index = 0;
    json_t *name = NULL;
    json_t *names = json_object_get(value, "fds");
    if (json_array_size(names) > list->n)
        return -EPROTO;
    json_array_foreach(names, index, name)
    {
        int *slot = json_is_string(name) ? fd_slot(body, json_string_value(name)) : NULL;
        if (!slot)
            return -EPROTO;
        fd_close(*slot);
        *slot = TAKE_FD(list->fds[index]);
    }
    return 0;
}

json_t *body_to_json(const struct body *body, struct fd_list *list)
{
    struct record record = body->record;
    if (!body->kept)
        record.request = NULL; /* of no use to a builder */
    return json_pack("{s:o, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:b, s:I, s:o}",
                     "record", record_to_json(&record), "kept", (int)body->kept, "hangs",
                     (int)body->hangs, "stays", (int)body->stays, "restarted",
                     (int)body->restarted, "durable", (int)body->durable, "host_network",
                     (int)body->host_network, "rootless", (int)body->rootless, "has_ids",
                     (int)body->has_ids, "cloned", (int)body->cloned, "views", (int)body->views,
                     "viewed", (int)body->viewed, "owner_gid", (json_int_t)body->owner_gid,
                     "fds", list_fds(body, list));
}

int body_from_json(json_t *value, struct fd_list *list, struct body *body)
{
    struct error ignored;
    int r = record_from_json(json_object_get(value, "record"), &body->record);
    body->kept = json_is_true(json_object_get(value, "kept"));
    body->hangs = json_is_true(json_object_get(value, "hangs"));
    body->stays = json_is_true(json_object_get(value, "stays"));
    body->restarted = json_is_true(json_object_get(value, "restarted"));
    body->durable = json_is_true(json_object_get(value, "durable"));
    body->host_network = json_is_true(json_object_get(value, "host_network"));
    body->rootless = json_is_true(json_object_get(value, "rootless"));
    body->has_ids = json_is_true(json_object_get(value, "has_ids"));
    body->cloned = json_is_true(json_object_get(value, "cloned"));
    body->views = json_is_true(json_object_get(value, "views"));
    body->viewed = json_is_true(json_object_get(value, "viewed"));
    body->owner_gid = (uint32_t)json_integer_value(json_object_get(value, "owner_gid"));
    if (r == 0)
        r = take_fds(value, list, body);
    if (r == 0 && *body->record.engine)
        r = engine_find(body->record.engine, &body->engine, &ignored);
    if (r == 0 && *body->record.storage)
        r = storage_open(body->record.storage, body->daemon->state_fd, &body->storage,
                         &ignored);
    return r;
}

json_t *settled_to_json(const struct body *body, struct fd_list *list)
{
    if (body->view_fd >= 0)
        list->fds[list->n++] = body->view_fd;
    return json_pack("{s:b, s:b}", "stays", (int)body->stays, "open_elsewhere",
                     (int)body->record.open_elsewhere);
}

void settled_from_json(json_t *value, struct fd_list *list, struct body *body)
{
    if (list->n == 1)
        body->view_fd = TAKE_FD(list->fds[0]);
    body->stays = json_is_true(json_object_get(value, "stays"));
    body->record.open_elsewhere = json_is_true(json_object_get(value, "open_elsewhere"));
}

json_t *built_to_json(const struct body *body, struct fd_list *list)
{
    return json_pack("{s:I, s:b, s:s, s:b, s:b, s:b, s:i, s:o}", "first_id",
                     (json_int_t)body->record.first_id, "shares_ids",
                     (int)body->record.shares_ids, "generation", body->record.generation,
                     "has_ids", (int)body->has_ids, "cloned", (int)body->cloned, "viewed",
                     (int)body->viewed, "pid", (int)body->instance.pid, "fds",
                     list_fds(body, list));
}

int built_from_json(json_t *value, struct fd_list *list, struct body *body)
{
    const char *generation = json_string_value(json_object_get(value, "generation"));
    body->record.first_id = (uint32_t)json_integer_value(json_object_get(value, "first_id"));
    body->record.shares_ids = json_is_true(json_object_get(value, "shares_ids"));
    body->has_ids = json_is_true(json_object_get(value, "has_ids"));
    body->cloned = json_is_true(json_object_get(value, "cloned"));
    body->viewed = json_is_true(json_object_get(value, "viewed"));
    body->instance.pid = (pid_t)json_integer_value(json_object_get(value, "pid"));
    (void)snprintf(body->record.generation, sizeof(body->record.generation), "%s",
                   generation ? generation : "");
    return take_fds(value, list, body);
}
