/* SPDX-License-Identifier: Apache-2.0 */
/* The pool: for each shape in use (template, network) some sandboxes are built and parked, and
 * given away once. How many follows demand: more as soon as one was missing, fewer when many
 * lie idle for long. It is filled when nothing is asked for (QUIET_US), or at once when it runs
 * low; behind that some fresh clones are made (pool_fresh.c). A shape that cannot be built is
 * left alone for longer and longer. Runs in isolated as root. */
#include "daemon/pool.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/builder.h"
#include "daemon/pool_shape.h"
#include "daemon/run_plan.h"
#include "daemon/stock.h"
#include "daemon/templates.h"
#include "spec/message.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>

#define RETRY_MIN_US     1000000ULL
#define RETRY_MAX_US     60000000ULL
#define SHRINK_US        30000000ULL
#define FORGET_US        (1800 * 1000000ULL)
#define WANTED_FIRST     2
#define BUILDING_AT_ONCE 4
#define SHAPES_MAX       64

struct shape *pool_shape_find(const struct daemon *daemon, const char *template_name,
                              bool host_network, const struct engine *engine)
{
    struct shape *shape = daemon->shapes;
    while (shape && (!streq(shape->template_name, template_name) ||
                     shape->host_network != host_network || shape->engine != engine))
        shape = shape->next;
    return shape;
}

bool pool_shape_is_rootless(const struct shape *shape)
{
    return !*shape->template_name;
}

unsigned pool_shape_wanted(const struct shape *shape)
{
    unsigned most = shape->daemon->config.pool_parked;
    unsigned n = shape->fixed >= 0 ? (unsigned)shape->fixed : shape->wanted;
    return n < most ? n : most;
}

void pool_shape_unlink(struct shape *shape, struct member *member)
{
    struct member **at = &shape->members;
    while (*at != member)
        at = &(*at)->next;
    *at = member->next;
    if (member->ready)
        shape->n_ready--;
    else
        shape->n_building--;
    member->park_io = sd_event_source_unref(member->park_io);
}

/* Not to be given away: ends it. */
static void drop_member(struct shape *shape, struct member *member)
{
    if (!member->built) {
        member->shape = NULL; /* the builder has it; on_built takes it away */
        pool_shape_unlink(shape, member);
        return;
    }
    pool_shape_unlink(shape, member);
    member_end(member);
}

/* Written whenever the set of shapes changes, so that the next daemon knows what to keep ready.
 */
static void save_shapes(struct daemon *daemon)
{
    json_t *list = json_array();
    for (const struct shape *shape = daemon->shapes; shape; shape = shape->next)
        if (!shape->gone)
            (void)json_array_append_new(
                list,
                json_pack("{s:s, s:s, s:b, s:s, s:i}", "template", shape->template_name,
                          "storage", shape->storage, "host_network", (int)shape->host_network,
                          "engine", shape->engine->name, "fixed", shape->fixed));
    char *text = json_dumps(list, JSON_COMPACT);
    json_decref(list);
    if (text && file_replace_at(daemon->run_fd, "shapes", text, strlen(text), false) < 0)
        log_warning("the list of shapes cannot be written");
    free(text);
}

static void drop_all(struct shape *shape)
{
    fresh_drop(shape);
    while (shape->members)
        drop_member(shape, shape->members);
}

static int on_refill(sd_event_source *source, uint64_t now_us, void *data)
{
    pool_shape_refill(data);
    return 0;
}

void pool_shape_refill_in(struct shape *shape, uint64_t us)
{
    int r = 0;
    if (!shape->timer)
        r = sd_event_add_time_relative(shape->daemon->event, &shape->timer, CLOCK_MONOTONIC, us,
                                       100, on_refill, shape);
    else if ((r = sd_event_source_set_time_relative(shape->timer, us)) >= 0)
        r = sd_event_source_set_enabled(shape->timer, SD_EVENT_ONESHOT);
    if (r < 0)
        log_warning("pool: timer: %s", strerror(-r));
}

void pool_shape_failed(struct shape *shape, const char *why)
{
    shape->retry_us = shape->retry_us ? shape->retry_us * 2 : RETRY_MIN_US;
    if (shape->retry_us > RETRY_MAX_US)
        shape->retry_us = RETRY_MAX_US;
    shape->blocked_until_us = time_now_us() + shape->retry_us;
    (void)snprintf(shape->problem, sizeof(shape->problem), "%s", why);
    log_warning("pool: template %s: %s; the next try is in %" PRIu64 " s",
                pool_shape_is_rootless(shape) ? "(directories)" : shape->template_name, why,
                shape->retry_us / 1000000);
    pool_shape_refill_in(shape, shape->retry_us);
}

/* What most starts ask for is done while nobody waits. A failure shows at the claim. */
static void prepare(struct member *member)
{
    struct error err = {0};
    struct run_plan plan = {0};
    struct body *body = &member->body;
    const char *name = body->rootless ? "isolate" : member->shape->template_name;
    if (body->host_network)
        return;
    /* where there is no root, nothing is written into it */
    if (run_plan_prepare(name, &plan) == 0 &&
        engine_prepare(body->engine, &body->instance, &plan.start, &err) == 0)
        body->prepared = body->rootless ? json_array() : json_incref(plan.provided);
    run_plan_clear(&plan);
}

static int on_park(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct member *member = data;
    struct shape *shape = member->shape;
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return 0;
    if (r == 1 && message.type == MESSAGE_READY && !member->ready) {
        prepare(member);
        member->ready = true;
        shape->n_building--;
        shape->n_ready++;
        shape->retry_us = 0;
        shape->problem[0] = '\0';
        pool_shape_refill(shape);
        return 0;
    }
    struct error err = {0};
    if (r == 1 && message.type == MESSAGE_FAILED)
        message_to_error(&message, &err);
    drop_member(shape, member);
    pool_shape_failed(shape, *err.text ? err.text : "a parked sandbox died");
    return 0;
}

static void on_built(void *data, int result, struct error *err)
{
    struct member *member = data;
    struct shape *shape = member->shape;
    member->built = true;
    member->root_fd = fd_close(member->root_fd);
    if (!shape) { /* dropped meanwhile */
        member_end(member);
        return;
    }
    if (result == 0)
        result = sd_event_add_io(shape->daemon->event, &member->park_io,
                                 member->body.instance.park_fd, EPOLLIN, on_park, member);
    if (result >= 0)
        return;
    drop_member(shape, member);
    pool_shape_not_built(shape, result, err);
}

void pool_shape_not_built(struct shape *shape, int result, const struct error *err)
{
    shape->gone = err->code == ERROR_NOT_FOUND && shape->fixed < 0;
    if (shape->gone)
        save_shapes(shape->daemon);
    else
        pool_shape_failed(shape, *err->text ? err->text : strerror(-result));
}

static int build_one(struct shape *shape, struct error *err)
{
    struct member *member = member_new(shape, "parked", err);
    if (!member)
        return -err->errnum;
    fresh_take(shape, &member->body);
    if (!member->body.cloned && !member->body.rootless)
        (void)stock_take(shape->daemon, &member->body);
    member->next = shape->members;
    shape->members = member;
    shape->n_building++;
    const struct build_order order = {
        .body = &member->body, .one_off_root = member->root_fd, .idle = shape->n_ready > 0};
    builder_build(&order, on_built, member);
    return 0;
}

void pool_shape_refill(struct shape *shape)
{
    struct error err = {0};
    uint64_t now = time_now_us();
    if (shape->daemon->stopping || shape->gone)
        return;
    if (now < shape->blocked_until_us) { /* the timer that was to come then may be this one */
        pool_shape_refill_in(shape, shape->blocked_until_us - now);
        return;
    }
    /* the backlog is bounded: building waits for destroying */
    if (builder_backlog(shape->daemon) > BACKLOG_MAX) {
        pool_shape_refill_in(shape, QUIET_US);
        return;
    }
    while (shape->n_ready + shape->n_building < pool_shape_wanted(shape) &&
           shape->n_building < BUILDING_AT_ONCE)
        if (build_one(shape, &err) < 0) {
            pool_shape_not_built(shape, -err.errnum, &err);
            return;
        }
    if (shape->n_building == 0)
        fresh_refill(shape);
}

/* Since the last look more than half of them were never needed: so many are not wanted. */
static void shrink(struct shape *shape)
{
    uint64_t now = time_now_us();
    if (now - shape->looked_us < SHRINK_US)
        return;
    if (shape->least_ready > shape->wanted / 2 && shape->wanted > 1)
        shape->wanted -= (shape->wanted + 1) / 2 > 1 ? shape->wanted / 2 : 1;
    if (now - shape->used_us > FORGET_US)
        shape->wanted = 0;
    shape->least_ready = shape->n_ready;
    shape->looked_us = now;
    while (shape->n_ready > pool_shape_wanted(shape)) {
        struct member *member = shape->members;
        while (member && !member->ready)
            member = member->next;
        if (!member)
            break;
        drop_member(shape, member);
    }
    fresh_trim(shape);
}

static void shape_free(struct shape *shape)
{
    struct shape **at = &shape->daemon->shapes;
    while (*at != shape)
        at = &(*at)->next;
    *at = shape->next;
    drop_all(shape);
    shape->timer = sd_event_source_unref(shape->timer);
    free(shape);
}

static int on_look(sd_event_source *source, uint64_t now_us, void *data)
{
    struct daemon *daemon = data;
    for (struct shape *next = daemon->shapes; next;) {
        struct shape *shape = next;
        next = shape->next;
        shrink(shape);
        pool_shape_refill(shape);
        if (shape->gone || (shape->fixed < 0 && time_now_us() - shape->used_us > FORGET_US)) {
            shape_free(shape);
            save_shapes(daemon);
        }
    }
    (void)sd_event_source_set_time_relative(source, SHRINK_US / 3);
    return sd_event_source_set_enabled(source, SD_EVENT_ONESHOT);
}

/* The one that was used the longest ago goes, of those that nobody has set. */
static void make_room(struct daemon *daemon)
{
    struct shape *oldest = NULL;
    unsigned n = 0;
    for (struct shape *shape = daemon->shapes; shape; shape = shape->next) {
        n++;
        if (shape->fixed < 0 && (!oldest || shape->used_us < oldest->used_us))
            oldest = shape;
    }
    if (n >= SHAPES_MAX && oldest)
        shape_free(oldest);
}

struct shape *pool_shape_add(struct daemon *daemon, const char *template_name,
                             const char *storage, bool host_network,
                             const struct engine *engine)
{
    unsigned n = 0;
    make_room(daemon);
    for (const struct shape *other = daemon->shapes; other; other = other->next)
        n++;
    struct shape *shape = n < SHAPES_MAX ? calloc(1, sizeof(*shape)) : NULL;
    if (!shape)
        return NULL;
    *shape = (struct shape){
        .daemon = daemon,
        .next = daemon->shapes,
        .host_network = host_network,
        .engine = engine,
        .wanted = WANTED_FIRST,
        .fixed = -1,
        .looked_us = time_now_us(),
        .used_us = time_now_us(),
    };
    (void)snprintf(shape->template_name, sizeof(shape->template_name), "%s", template_name);
    (void)snprintf(shape->storage, sizeof(shape->storage), "%s", storage);
    daemon->shapes = shape;
    save_shapes(daemon);
    return shape;
}

void pool_shape_set(struct shape *shape, int fixed)
{
    shape->fixed = fixed;
    shape->gone = false;
    shape->looked_us = 0;
    shape->least_ready = shape->n_ready;
    save_shapes(shape->daemon);
    shrink(shape);
    pool_shape_refill(shape);
}

void pool_shape_drop_members(struct shape *shape)
{
    shape->blocked_until_us = shape->retry_us = 0;
    drop_all(shape);
    pool_shape_refill(shape);
}

static void open_shape(struct daemon *daemon, const json_t *value)
{
    const char *name = json_string_value(json_object_get(value, "template"));
    const char *storage = json_string_value(json_object_get(value, "storage"));
    bool host_network = json_is_true(json_object_get(value, "host_network"));
    const struct engine *engine = NULL;
    const struct storage_driver *driver = NULL;
    struct error unknown = {0};
    if (!name || !storage || storage_driver_find(storage, &driver, &unknown) < 0 ||
        !(driver->capabilities & (*name ? STORAGE_DISPOSABLE : STORAGE_LATE_ROOTS)) ||
        (*name && name_check_template(name, NULL) < 0) ||
        engine_find(json_string_value(json_object_get(value, "engine")), &engine, &unknown) <
            0 ||
        pool_shape_find(daemon, name, host_network, engine))
        return;
    struct shape *shape = pool_shape_add(daemon, name, storage, host_network, engine);
    if (!shape)
        return;
    shape->fixed = (int)json_integer_value(json_object_get(value, "fixed"));
    pool_shape_refill_in(shape,
                         QUIET_US); /* when what an earlier daemon left has been taken over */
}

/* What the administrator wants ready whatever the demand. */
static void open_configured(struct daemon *daemon)
{
    for (size_t i = 0; i < daemon->config.n_templates; i++) {
        const struct template_config *template = &daemon->config.templates[i];
        if (template->parked < 0 || *template->problem)
            continue;
        const struct engine *engine = engine_at(0);
        struct shape *shape = pool_shape_find(daemon, template->name, false, engine);
        if (!shape)
            shape =
                pool_shape_add(daemon, template->name, storage_drivers[0]->name, false, engine);
        if (shape)
            pool_shape_set(shape, template->parked);
    }
}

void pool_reload(struct daemon *daemon)
{
    open_configured(daemon);
    for (struct shape *shape = daemon->shapes; shape; shape = shape->next)
        pool_shape_drop_members(shape);
}

void pool_open(struct daemon *daemon)
{
    _cleanup_buffer_ struct buffer text = {0};
    size_t index = 0;
    json_t *value = NULL;
    sd_event_source *look = NULL;
    if (sd_event_add_time_relative(daemon->event, &look, CLOCK_MONOTONIC, SHRINK_US / 3, 0,
                                   on_look, daemon) < 0 ||
        sd_event_source_set_floating(look, true) < 0)
        log_warning("pool: it will not shrink");
    (void)sd_event_source_unref(look);
    pool_look(daemon); /* what changed before is in all that is built from now on */
    if (file_read_at(daemon->run_fd, "shapes", 65536, &text) == 0) {
        json_t *list = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
        json_array_foreach(list, index, value) open_shape(daemon, value);
        json_decref(list);
    }
    open_configured(daemon);
}

void pool_close(struct daemon *daemon)
{
    for (struct shape *shape = daemon->shapes; shape; shape = shape->next) {
        shape->timer = sd_event_source_unref(shape->timer);
        drop_all(shape);
    }
}

void pool_free(struct daemon *daemon)
{
    while (daemon->shapes) {
        struct shape *shape = daemon->shapes;
        daemon->shapes = shape->next;
        shape->timer = sd_event_source_unref(shape->timer);
        free(shape);
    }
}
