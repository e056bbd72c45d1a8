/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's side of its builders: orders wait here, a few are on their way. A builder that
 * dies takes those along; they fail, and what it had half done is recovered. Runs as root. */
#include "daemon/builder_job.h"

#include "base/environment.h"
#include "base/log.h"
#include "base/text.h"
#include "daemon/callers.h"
#include "daemon/child.h"
#include "daemon/drain.h"
#include "daemon/nursery.h"
#include "daemon/start.h"
#include "sys/packet.h"
#include "sys/process.h"

#include <sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define SENT_MAX                                                                               \
    8 /* orders at a builder at once: urgent ones must not wait for many others                \
       */

#define DEATHS_MAX  20
#define PATIENCE_MS 1500 /* for the last orders of one that is to end */

struct builder {
    struct daemon *daemon;
    bool takes_away; /* the one that destroys and recovers */
    bool is_idle;    /* runs at idle priority */
    pid_t pid;
    int pidfd;
    int link_fd;
    sd_event_source *link_io;
    sd_event_source *pid_io;
    struct job *waiting;
    struct job *sent;
    struct job *lingering; /* of which it has said that they go on (BUILDER_GOES_ON) */
    unsigned n_sent;
    bool ready;        /* it has what it needs */
    unsigned n_deaths; /* one after the other, of those that were never ready */
};

static int on_link(sd_event_source *source, int fd, uint32_t events, void *data);
static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data);

static int spawn(struct builder *builder, struct error *err)
{
    struct daemon *daemon = builder->daemon;
    char *const argv[] = {(char *)"isolated", (char *)"--builder", NULL};
    char *environment[ENVIRONMENT_MAX];
    char path[512];
    (void)snprintf(path, sizeof(path), "%s/isolated", daemon->libexec);
    environment_fixed(environ, environment);
    const struct child_program program = {
        .what = "builder",
        .argv = argv,
        .environment = environment,
        .path = path,
        .second_fd = builder->takes_away ? -EBADF : daemon->nursery_fd,
    };
    int r = child_start(&program, &builder->pid, &builder->pidfd, &builder->link_fd, err);
    if (r < 0)
        return r;
    builder->is_idle = false;
    builder->ready = false;
    r = job_send_config(&daemon->config, builder->link_fd, 0); /* before any order */
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "builder: its configuration: ");
    r = sd_event_add_io(daemon->event, &builder->link_io, builder->link_fd, EPOLLIN, on_link,
                        builder);
    if (r >= 0)
        r = sd_event_add_io(daemon->event, &builder->pid_io, builder->pidfd, EPOLLIN,
                            on_exit_of, builder);
    if (r >= 0)
        r = sd_event_source_set_priority(builder->pid_io, PRIORITY_ENDS);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "builder: ") : 0;
}

/* The kernel's idle class for work that nobody waits for. Its sandboxes come from the nursery
 * and do not inherit it. */
static void set_priority(struct builder *builder, bool idle)
{
    const struct sched_param none = {0};
    if (builder->is_idle == idle)
        return;
    if (sched_setscheduler(builder->pid, idle ? SCHED_IDLE : SCHED_OTHER, &none) == 0)
        builder->is_idle = idle;
}

static void finish(struct job *job, int result, struct error *err)
{
    (void)sd_event_source_unref(job->later);
    if (job->done)
        job->done(job->data, result, err);
    free(job);
}

static int on_unsendable(sd_event_source *source, void *data)
{
    struct job *job = data;
    struct error err = {0};
    (void)fail(&err, ERROR_SYSTEM, job->unsent, "builder: the order cannot be sent: ");
    finish(job, job->unsent, &err);
    return 0;
}

/* Not from here: who ordered is not ready to hear of the outcome before it has ordered. */
static void fail_later(struct builder *builder, struct job *job, int result)
{
    job->unsent = result;
    int r = sd_event_add_defer(builder->daemon->event, &job->later, on_unsendable, job);
    if (r < 0)
        log_error("builder: an order is lost: %s", strerror(-r));
}

static bool waits_for_nobody(const struct builder *builder)
{
    const struct job *const lists[] = {builder->waiting, builder->sent};
    for (size_t i = 0; i < ELEMENTS(lists); i++)
        for (const struct job *job = lists[i]; job; job = job->next)
            if (!job->build.idle)
                return false;
    return true;
}

static void pump(struct builder *builder)
{
    set_priority(builder, waits_for_nobody(builder));
    while (builder->waiting && builder->n_sent < SENT_MAX && builder->link_fd >= 0) {
        struct job *job = builder->waiting;
        int r = job_send(job, &builder->daemon->config, builder->link_fd);
        if (r == -EAGAIN || r == -EPIPE || r == -ECONNRESET)
            return; /* full, or dead: both end with an event */
        builder->waiting = job->next;
        if (r < 0) {
            fail_later(builder, job, r);
            continue;
        }
        job->next = builder->sent;
        builder->sent = job;
        builder->n_sent++;
    }
}

/* Idle orders stand behind all others. */
static void enqueue(struct builder *builder, const struct job *order)
{
    static uint32_t last_id;
    struct error err = {0};
    struct job *job = calloc(1, sizeof(*job));
    if (!job) {
        (void)fail(&err, ERROR_SYSTEM, ENOMEM, "builder: ");
        if (order->done)
            order->done(order->data, -ENOMEM, &err);
        return;
    }
    *job = *order;
    job->id = ++last_id;
    struct job **at = &builder->waiting;
    while (*at && (job->build.idle || !(*at)->build.idle))
        at = &(*at)->next;
    job->next = *at;
    *at = job;
    pump(builder);
}

static bool is_idle(const struct builder *builder)
{
    return !builder || (!builder->waiting && !builder->sent);
}

static void tell_idle(struct daemon *daemon)
{
    if (daemon->when_idle && is_idle(daemon->builder) && is_idle(daemon->destroyer) &&
        !daemon->drains)
        daemon->when_idle(daemon);
}

void builders_when_idle(struct daemon *daemon, void (*idle)(struct daemon *daemon))
{
    daemon->when_idle = idle;
    tell_idle(daemon);
}

static struct job *take_job(struct job **at, uint32_t id)
{
    while (*at && (*at)->id != id)
        at = &(*at)->next;
    struct job *job = *at;
    if (job)
        *at = job->next;
    return job;
}

static struct job *take_sent(struct builder *builder, uint32_t id)
{
    struct job *job = take_job(&builder->sent, id);
    if (!job)
        return take_job(&builder->lingering, id);
    builder->n_sent--;
    return job;
}

/* Others need not wait for it, nor does the end. */
static void linger(struct builder *builder, struct job *job)
{
    job->body->lingers = true;
    job->next = builder->lingering;
    builder->lingering = job;
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct builder *builder = data;
    struct error err = {0};
    _cleanup_packet_ struct packet packet = {0};
    int r = packet_receive(fd, MSG_DONTWAIT, &packet);
    if (r == -EAGAIN)
        return 0;
    if (r <= 0) { /* its end follows */
        builder->link_io = sd_event_source_unref(builder->link_io);
        (void)!pidfd_signal(builder->pidfd, SIGKILL);
        return 0;
    }
    builder->ready = true;
    struct job *job = take_sent(builder, packet.id);
    if (!job)
        return 0;
    builder->daemon->n_finished++;
    if (job->type == BUILDER_DESTROY && packet.value == BUILDER_GOES_ON) {
        linger(builder, job);
    } else {
        r = job_take_result(job, &packet, &err);
        if (job->is_left)
            resident_recover_soon(builder->daemon);
        finish(job, r, &err);
    }
    pump(builder);
    tell_idle(builder->daemon);
    return 0;
}

static void close_builder(struct builder *builder)
{
    builder->link_io = sd_event_source_unref(builder->link_io);
    builder->pid_io = sd_event_source_unref(builder->pid_io);
    builder->link_fd = fd_close(builder->link_fd);
    builder->pidfd = fd_close(builder->pidfd);
    builder->pid = 0;
}

static void on_recovered(void *data, int result, struct error *err)
{
    nursery_reap_lost(data);
}

/* Orders that it had not begun are for the next one: it works on one after the other, so all
 * but the first. What was to be taken away was the builder's own already. */
static void fail_lost(struct builder *builder, struct job *lost)
{
    struct error err = {0};
    for (struct job *next = NULL; lost; lost = next) {
        struct job *job = lost; /* the newest first */
        next = lost->next;
        if (next && job_builds(job)) {
            job->next = builder->waiting;
            builder->waiting = job;
            continue;
        }
        (void)fail(&err, ERROR_SYSTEM, ECONNRESET, "%s",
                   job_builds(job)
                       ? "the builder died before the sandbox was ready; nothing ran"
                       : "the builder died while the sandbox was settled; it is gone");
        finish(job, -ECONNRESET, &err);
    }
}

/* One that dies again and again cannot be helped from here. */
static bool dies_too_often(struct builder *builder)
{
    builder->n_deaths = builder->ready ? 0 : builder->n_deaths + 1;
    return builder->n_deaths > DEATHS_MAX;
}

static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct builder *builder = data;
    struct daemon *daemon = builder->daemon;
    struct error err = {0};
    struct job *lost = builder->sent;
    struct job *lingering = builder->lingering;
    (void)waitpid(builder->pid, NULL, WNOHANG);
    log_warning("a builder died (pid %d); it is started again", (int)builder->pid);
    close_builder(builder);
    builder->sent = builder->lingering = NULL;
    builder->n_sent = 0;
    if (!builder->takes_away && nursery_start(daemon, &err) < 0)
        log_error("%s", err.text);
    int r = dies_too_often(builder)
                ? fail(&err, ERROR_SYSTEM, EAGAIN, "builders die as soon as they are started: ")
                : spawn(builder, &err);
    if (r < 0) {
        log_error("%s", err.text);
        return sd_event_exit(daemon->event, 1);
    }
    fail_lost(builder, lost);
    fail_lost(builder, lingering);
    builder_recover(daemon, on_recovered, daemon);
    resident_recover_soon(daemon); /* what of it ends just now */
    pump(builder);
    return 0;
}

static int builder_new(struct daemon *daemon, bool takes_away, struct builder **ret,
                       struct error *err)
{
    *ret = calloc(1, sizeof(**ret));
    if (!*ret)
        return fail(err, ERROR_SYSTEM, ENOMEM, "builder: ");
    **ret = (struct builder){
        .daemon = daemon, .takes_away = takes_away, .pidfd = -EBADF, .link_fd = -EBADF};
    return spawn(*ret, err);
}

int builders_start(struct daemon *daemon, struct error *err)
{
    int r = nursery_start(daemon, err);
    if (r == 0)
        r = builder_new(daemon, false, &daemon->builder, err);
    return r < 0 ? r : builder_new(daemon, true, &daemon->destroyer, err);
}

/* The end of its orders lets it end by itself once the one it works on is done. */
static void end_orders(struct builder *builder)
{
    if (!builder)
        return;
    builder->link_io = sd_event_source_unref(builder->link_io);
    builder->link_fd = fd_close(builder->link_fd);
}

/* What is killed is recovered by who comes next. One that the kernel holds, because a disk does
 * not answer, is left to it: it ends as soon as that lets go. */
static void stop(struct builder **builder, uint64_t end_ms)
{
    if (!*builder)
        return;
    uint64_t now = time_now_ms();
    int left = now < end_ms ? (int)(end_ms - now) : 0;
    if ((*builder)->pidfd >= 0 && pidfd_wait((*builder)->pidfd, left) != 1) {
        (void)!pidfd_signal((*builder)->pidfd, SIGKILL);
        (void)!pidfd_wait((*builder)->pidfd, 500);
    }
    if ((*builder)->pid > 0)
        (void)waitpid((*builder)->pid, NULL, WNOHANG);
    close_builder(*builder);
    free(*builder);
    *builder = NULL;
}

void builders_stop(struct daemon *daemon)
{
    uint64_t end_ms = time_now_ms() + PATIENCE_MS;
    drains_forget(daemon);
    end_orders(daemon->builder);
    end_orders(daemon->destroyer);
    stop(&daemon->builder, end_ms);
    stop(&daemon->destroyer, end_ms);
}

void builders_reload(struct daemon *daemon)
{
    const struct job order = {.type = BUILDER_RELOAD};
    if (daemon->builder)
        enqueue(daemon->builder, &order);
    if (daemon->destroyer)
        enqueue(daemon->destroyer, &order);
}

static void order(enum builder_packet type, const struct build_order *build, builder_done done,
                  void *data)
{
    const struct job job = {
        .type = type, .build = *build, .body = build->body, .done = done, .data = data};
    enqueue(build->body->daemon->builder, &job);
}

void builder_build(const struct build_order *build, builder_done done, void *data)
{
    struct error err = {0};
    if (build->body->daemon->builder)
        order(BUILDER_BUILD, build, done, data);
    else
        done(data, body_build(build->body, build->one_off_root, &err), &err);
}

void builder_view(const struct build_order *build, builder_done done, void *data)
{
    struct error err = {0};
    if (build->body->daemon->builder)
        order(BUILDER_VIEW, build, done, data);
    else
        done(data, body_view(build->body, build->one_off_root, &err), &err);
}

void builder_clone(const struct build_order *build, builder_done done, void *data)
{
    order(BUILDER_CLONE, build, done, data);
}

static void on_drained(const struct job *order)
{
    enqueue(order->body->daemon->destroyer, order);
}

static bool take_away(enum builder_packet type, struct body *body, builder_done done,
                      void *data)
{
    const struct job job = {.type = type, .body = body, .done = done, .data = data};
    bool elsewhere = body->daemon->destroyer && body->lock_fd >= 0;
    if (elsewhere && !drain_first(&job, on_drained))
        enqueue(body->daemon->destroyer, &job);
    return elsewhere;
}

void builder_settle(struct body *body, builder_done done, void *data)
{
    struct error err = {0};
    if (take_away(BUILDER_SETTLE, body, done, data))
        return;
    body_settle_for_view(body);
    done(data, 0, &err);
}

void builder_destroy(struct body *body, builder_done done, void *data)
{
    struct error err = {0};
    if (!take_away(BUILDER_DESTROY, body, done, data))
        done(data, body_destroy(body), &err);
}

/* One that has not begun sees all that the next one would. */
static bool waits_to_recover(const struct builder *destroyer)
{
    for (const struct job *job = destroyer->waiting; job; job = job->next)
        if (job->type == BUILDER_RECOVER)
            return true;
    return false;
}

void builder_recover(struct daemon *daemon, builder_done done, void *data)
{
    const struct job job = {.type = BUILDER_RECOVER, .done = done, .data = data};
    if (daemon->destroyer && !waits_to_recover(daemon->destroyer))
        enqueue(daemon->destroyer, &job);
}

void builder_kill(struct daemon *daemon)
{
    if (daemon->builder)
        (void)!pidfd_signal(daemon->builder->pidfd, SIGKILL);
}

unsigned builder_backlog(const struct daemon *daemon)
{
    unsigned n = 0;
    for (const struct job *job = daemon->destroyer ? daemon->destroyer->waiting : NULL; job;
         job = job->next)
        n++;
    return n;
}
