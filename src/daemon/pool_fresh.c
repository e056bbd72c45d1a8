/* SPDX-License-Identifier: Apache-2.0 */
/* Fresh clones: made ahead of time behind the parked sandboxes, so that the next one that is
 * built for a shape, parked or asked for, finds its clone there; on ZFS that is most of
 * building. A clone is fresh only as long as its record says so, which is written when the
 * clone is complete and replaced before anything is started in it. Runs in isolated as root. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/pool_shape.h"
#include "sys/fd.h"

#include <string.h>

static unsigned wanted(const struct shape *shape)
{
    return shape->fixed == 0 || shape->wanted == 0 || pool_shape_is_rootless(shape)
               ? 0
               : shape->daemon->config.pool_fresh;
}

static void push(struct shape *shape, struct member *member)
{
    member->next = shape->fresh;
    shape->fresh = member;
}

static void unlink_fresh(struct shape *shape, struct member *member)
{
    struct member **at = &shape->fresh;
    while (*at && *at != member)
        at = &(*at)->next;
    if (*at)
        *at = member->next;
    if (member->ready)
        shape->n_fresh--;
}

/* One that is ready, the oldest first; or NULL. */
static struct member *find_ready(const struct shape *shape)
{
    struct member *found = NULL;
    for (struct member *member = shape->fresh; member; member = member->next)
        if (member->ready)
            found = member;
    return found;
}

static void on_cloned(void *data, int result, struct error *err)
{
    struct member *member = data;
    struct shape *shape = member->shape;
    member->built = true;
    member->root_fd = fd_close(member->root_fd);
    if (shape && result == 0 && shape->n_fresh < wanted(shape)) {
        member->ready = true;
        shape->n_fresh++;
        return;
    }
    if (shape)
        unlink_fresh(shape, member);
    member_end(member);
    if (shape && result < 0)
        pool_shape_not_built(shape, result, err);
}

void fresh_refill(struct shape *shape)
{
    unsigned n = 0;
    struct error err = {0};
    for (const struct member *member = shape->fresh; member; member = member->next)
        n++;
    for (; n < wanted(shape); n++) {
        struct member *member = member_new(shape, "cloning", &err);
        if (!member) {
            pool_shape_not_built(shape, -err.errnum, &err);
            return;
        }
        push(shape, member);
        const struct build_order order = {
            .body = &member->body, .one_off_root = member->root_fd, .idle = true};
        builder_clone(&order, on_cloned, member);
    }
}

bool fresh_has(const struct shape *shape, const struct body *body)
{
    return find_ready(shape) && streq(shape->storage, body->record.storage);
}

void fresh_take(struct shape *shape, struct body *body)
{
    struct member *member = find_ready(shape);
    if (!fresh_has(shape, body))
        return;
    unlink_fresh(shape, member);
    struct body *fresh = &member->body;
    memcpy(body->record.id, fresh->record.id, sizeof(body->record.id));
    memcpy(body->record.generation, fresh->record.generation, sizeof(body->record.generation));
    body->record.first_id = fresh->record.first_id;
    body->record.shares_ids = fresh->record.shares_ids;
    body->lock_fd = TAKE_FD(fresh->lock_fd);
    body->has_ids = body->cloned = true;
    fresh->has_ids = false;
    member_end(member);
}

bool fresh_is_current(struct body *body)
{
    _cleanup_generations_ struct generation_list list = {0};
    const struct storage_driver *driver = body->storage.driver;
    if (body->record.root || !(driver->capabilities & STORAGE_TEMPLATES) ||
        driver->generations(&body->storage, body->record.template_name, &list, NULL) < 0)
        return false;
    for (size_t i = 0; i < list.n; i++)
        if (list.items[i].current)
            return streq(list.items[i].id, body->record.generation);
    return false;
}

bool fresh_adopt(struct shape *shape, struct body *body)
{
    if (shape->n_fresh >= wanted(shape) || !fresh_is_current(body))
        return false;
    struct member *member = calloc(1, sizeof(*member));
    if (!member)
        return false;
    body_init(&member->body, shape->daemon);
    body_move(&member->body, body);
    member->body.cloned = member->body.has_ids = true;
    member->shape = shape;
    member->root_fd = -EBADF;
    member->built = member->ready = true;
    push(shape, member);
    shape->n_fresh++;
    return true;
}

static void drop(struct shape *shape, struct member *member)
{
    unlink_fresh(shape, member);
    if (member->built)
        member_end(member);
    else
        member->shape = NULL; /* the builder has it; on_cloned takes it away */
}

void fresh_trim(struct shape *shape)
{
    struct member *member = NULL;
    while (shape->n_fresh > wanted(shape) && (member = find_ready(shape)))
        drop(shape, member);
}

void fresh_drop(struct shape *shape)
{
    while (shape->fresh)
        drop(shape, shape->fresh);
}
