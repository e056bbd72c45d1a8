/* SPDX-License-Identifier: Apache-2.0 */
/* The builder's process: one order after the other, each to its end, but for files that take
 * long to remove (removals.h); what is destroyed is announced to the storage for several at
 * once. Runs as root beside isolated, which is at fd 3 and takes over what is built, its lock
 * included; when that is gone so is this, and what was half done is finished by the next
 * recovery. */
#include "daemon/builder.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/confine.h"
#include "daemon/removals.h"
#include "sys/fd.h"
#include "sys/packet.h"

#include <fcntl.h>
#include <sched.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>

enum { LINK_FD = 3, NURSERY_FD = 4 };

static int answer(const struct packet *order, int result, const struct error *err,
                  json_t *take_value, struct packet *packet)
{
    json_t *value = take_value ? take_value : json_object();
    if (result < 0) {
        (void)json_object_set_new(value, "code", json_integer(err->code));
        (void)json_object_set_new(value, "errno", json_integer(err->errnum));
        (void)json_object_set_new(value, "text", json_string(err->text));
    }
    char *text = json_dumps(value, JSON_COMPACT);
    json_decref(value);
    packet->type = order->type;
    packet->id = order->id;
    packet->value = result;
    int r = text ? packet_send(LINK_FD, packet, text, strlen(text), 0) : -ENOMEM;
    free(text);
    return r;
}

static int build(struct daemon *daemon, const struct packet *order, json_t *value,
                 struct fd_list *fds)
{
    struct error err = {0};
    struct packet packet = {0};
    struct body body;
    body_init(&body, daemon);
    size_t n_named = json_array_size(json_object_get(value, "fds"));
    int one_off = fds->n > n_named ? fds->fds[n_named] : -EBADF;
    int r = body_from_json(value, fds, &body);
    if (r < 0)
        r = fail(&err, ERROR_PROTOCOL, r, "builder: order: ");
    else if (order->type == BUILDER_CLONE)
        r = body_clone(&body, one_off, &err);
    else if (order->type == BUILDER_VIEW)
        r = body_view(&body, one_off, &err);
    else
        r = body_build(&body, one_off, &err);
    json_t *built = NULL;
    pid_t pid = body.instance.pid;
    if (r < 0) {
        body_end(&body);
        body.kept = body.restarted;
        bool is_left = body_destroy(&body) < 0;
        /* for its parent to reap, and to try again */
        built = json_pack("{s:i, s:b}", "pid", (int)pid, "left", (int)is_left);
    } else {
        built = built_to_json(&body, &packet.fds);
    }
    r = answer(order, r, &err, built, &packet);
    packet.fds.n = 0; /* they were the body's */
    body_clear(&body);
    return r;
}

static int settle(struct daemon *daemon, const struct packet *order, json_t *value,
                  struct fd_list *fds)
{
    struct error err = {0};
    struct packet packet = {0};
    struct body body;
    json_t *settled = NULL;
    body_init(&body, daemon);
    int r = body_from_json(value, fds, &body);
    if (r < 0) {
        (void)fail(&err, ERROR_PROTOCOL, r, "builder: order: ");
    } else {
        body_settle_for_view(&body);
        settled = settled_to_json(&body, &packet.fds);
    }
    r = answer(order, r, &err, settled, &packet);
    packet.fds.n = 0; /* it was the body's */
    body_clear(&body);
    return r;
}

static json_t *content(const struct packet *packet)
{
    const struct buffer *payload = &packet->payload;
    return json_loadb(payload->data ? payload->data : "{}", payload->data ? payload->length : 2,
                      0, NULL);
}

/* Orders to destroy, as many as wait. */
#define BATCH_MAX 8

struct batch {
    struct packet packets[BATCH_MAX];
    struct body bodies[BATCH_MAX];
    int results[BATCH_MAX]; /* of reading the order */
    size_t n;
    struct packet next; /* the order behind them; of type 0: none */
};

static void batch_add(struct daemon *daemon, struct batch *batch, struct packet *take_packet)
{
    size_t i = batch->n++;
    struct body *body = &batch->bodies[i];
    batch->packets[i] = *take_packet;
    *take_packet = (struct packet){0};
    json_t *value = content(&batch->packets[i]);
    body_init(body, daemon);
    batch->results[i] = body_from_json(value, &batch->packets[i].fds, body);
    json_decref(value);
}

/* Where the storage has something to win by it: settled, all of them, and named to it. */
static void batch_gather(struct daemon *daemon, struct batch *batch)
{
    struct clone_info infos[BATCH_MAX] = {0};
    struct clone_list clones = {infos, 0};
    struct error err = {0};
    struct packet packet = {0};
    struct storage *storage = &batch->bodies[0].storage;
    if (batch->results[0] < 0 || !storage->driver || !storage->driver->destroy_ahead)
        return;
    while (batch->n < BATCH_MAX && packet_receive(LINK_FD, MSG_DONTWAIT, &packet) > 0) {
        if (packet.type != BUILDER_DESTROY) {
            batch->next = packet;
            break;
        }
        batch_add(daemon, batch, &packet);
    }
    if (batch->n == 1 || daemon_follow_cgroup(daemon, &err) < 0)
        return;
    for (size_t i = 0; i < batch->n; i++) {
        struct body *body = &batch->bodies[i];
        if (batch->results[i] < 0)
            continue;
        body_settle(body);
        if (body_is_disposable(body) && streq(body->storage.name, storage->name))
            (void)snprintf(infos[clones.n++].name, CLONE_NAME_SIZE, "%s", body->record.id);
    }
    if (clones.n > 1)
        storage->driver->destroy_ahead(storage, &clones);
}

/* A remover does, and isolated hears of its end. */
static int go_on(struct daemon *daemon, struct body *body, const struct packet *order,
                 struct error *err)
{
    int r = removals_add(daemon, body, order->id);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "builder: ") : BUILDER_GOES_ON;
}

static void on_removed(uint32_t order, int result)
{
    struct error err = {0};
    struct packet reply = {0};
    const struct packet destroy = {.type = BUILDER_DESTROY, .id = order};
    if (result < 0)
        (void)fail(&err, ERROR_BUSY, result, "something of it stays: ");
    (void)!answer(&destroy, result, &err, NULL, &reply); /* isolated may be gone */
}

static int destroy(struct daemon *daemon, struct packet *packet, struct packet *ret_next)
{
    int r = 0;
    struct batch batch = {0};
    batch_add(daemon, &batch, packet);
    batch_gather(daemon, &batch);
    for (size_t i = 0; i < batch.n; i++) {
        struct error err = {0};
        struct packet reply = {0};
        int result = batch.results[i];
        if (result < 0)
            (void)fail(&err, ERROR_PROTOCOL, result, "builder: order: ");
        else
            result = body_destroy(&batch.bodies[i]);
        if (result > 0)
            result = go_on(daemon, &batch.bodies[i], &batch.packets[i], &err);
        body_clear(&batch.bodies[i]);
        int answered = answer(&batch.packets[i], result, &err, NULL, &reply);
        packet_clear(&batch.packets[i]);
        r = r < 0 ? r : answered;
    }
    *ret_next = batch.next;
    return r;
}

static int recover(struct daemon *daemon, const struct packet *order)
{
    struct error err = {0};
    struct packet packet = {0};
    int r = recover_all(daemon, &err);
    recover_ranges(daemon);
    if (r < 0)
        log_warning("%s", err.text);
    return answer(order, r, &err, NULL, &packet);
}

/* isolated's configuration, as it has checked it. */
static int load_config(const struct packet *order, struct config *ret, struct error *err)
{
    char path[32];
    const struct buffer *text = &order->payload;
    _cleanup_close_ int fd = memfd_of("isolate-config", text->data, text->length, 0600);
    if (order->type != BUILDER_RELOAD || fd < 0)
        return fail(err, ERROR_PROTOCOL, EPROTO, "builder: no configuration");
    (void)snprintf(path, sizeof(path), "/proc/self/fd/%d", fd);
    return config_load(path, ret, err);
}

static int reload(struct daemon *daemon, const struct packet *order)
{
    struct error err = {0};
    struct packet packet = {0};
    struct config config = {0};
    int r = load_config(order, &config, &err);
    if (r == 0) {
        config_clear(&daemon->config);
        daemon->config = config;
    }
    return answer(order, r, &err, NULL, &packet);
}

static int serve(struct daemon *daemon, struct packet *packet)
{
    struct packet next = {0};
    int r = 0;
    json_t *value = packet->type == BUILDER_DESTROY || packet->type == BUILDER_RELOAD
                        ? NULL
                        : content(packet);
    if (packet->type == BUILDER_RELOAD)
        r = reload(daemon, packet);
    else if (packet->type == BUILDER_BUILD || packet->type == BUILDER_CLONE ||
             packet->type == BUILDER_VIEW)
        r = build(daemon, packet, value, &packet->fds);
    else if (packet->type == BUILDER_SETTLE)
        r = settle(daemon, packet, value, &packet->fds);
    else if (packet->type == BUILDER_DESTROY)
        r = destroy(daemon, packet, &next);
    else
        r = recover(daemon, packet);
    json_decref(value);
    packet_clear(packet);
    *packet = next;
    return r;
}

/* One order after the other, until isolated is gone. */
static int serve_all(struct daemon *daemon)
{
    _cleanup_packet_ struct packet packet = {0};
    int r = 1;
    while (r > 0) {
        if (packet.type == 0 && daemon->removals)
            r = removals_wait(daemon, LINK_FD, on_removed);
        if (packet.type == 0 && r >= 0)
            r = packet_receive(LINK_FD, 0, &packet);
        int served = r > 0 ? serve(daemon, &packet) : 0;
        r = served < 0 ? served : r;
    }
    return r;
}

int builder_main(void)
{
    struct error err = {0};
    struct daemon daemon;
    struct removals removals = {0};
    _cleanup_packet_ struct packet first = {0};
    daemon_init(&daemon);
    (void)umask(077);
    (void)prctl(PR_SET_DUMPABLE, 0);
    /* before anything of ours may get its number */
    if (fcntl(NURSERY_FD, F_SETFD, FD_CLOEXEC) == 0)
        daemon.nursery_fd = NURSERY_FD;
    else
        daemon.removals = &removals; /* it takes away */
    int r = packet_receive(LINK_FD, 0, &first);
    if (r == 0)
        return 0; /* isolated is gone already */
    if (r > 0)
        r = confine_work(&err); /* sandboxes are cloned by the nursery */
    if (r == 0)
        r = load_config(&first, &daemon.config, &err);
    if (r == 0)
        r = daemon_open(&daemon, &err);
    if (r < 0) {
        log_error("builder: %s", err.text);
        return 1;
    }
    struct packet ready = {0};
    r = answer(&first, 0, &err, NULL, &ready) < 0 ? 0 : serve_all(&daemon);
    config_clear(&daemon.config);
    return r < 0;
}
