/* SPDX-License-Identifier: Apache-2.0 */
/* See drain.h. Runs in isolated as root; what it reads is the kernel's. */
#include "daemon/drain.h"

#include "sys/cgroup.h"
#include "sys/fd.h"

#include <stdlib.h>
#include <sys/epoll.h>

#define DRAIN_US 5000000ULL

struct drain {
    struct drain *next;
    struct job order;
    void (*over)(const struct job *order);
    int events_fd;
    sd_event_source *events_io;
    sd_event_source *timer;
};

static void drain_free(struct drain *drain)
{
    struct drain **at = &drain->order.body->daemon->drains;
    while (*at && *at != drain)
        at = &(*at)->next;
    if (*at)
        *at = drain->next;
    drain->events_io = sd_event_source_unref(drain->events_io);
    drain->timer = sd_event_source_unref(drain->timer);
    drain->events_fd = fd_close(drain->events_fd);
    free(drain);
}

static void end(struct drain *drain)
{
    const struct job order = drain->order;
    void (*over)(const struct job *order) = drain->over;
    drain_free(drain);
    over(&order);
}

static int on_events(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct drain *drain = data;
    if (cgroup_events_populated(drain->events_fd) != 1)
        end(drain);
    return 0;
}

static int on_late(sd_event_source *source, uint64_t now_us, void *data)
{
    struct drain *drain = data;
    drain->order.body->hangs = true;
    end(drain);
    return 0;
}

static int watch(struct drain *drain, sd_event *event)
{
    int r =
        sd_event_add_io(event, &drain->events_io, drain->events_fd, EPOLLPRI, on_events, drain);
    return r < 0 ? r
                 : sd_event_add_time_relative(event, &drain->timer, CLOCK_MONOTONIC, DRAIN_US,
                                              0, on_late, drain);
}

bool drain_first(const struct job *order, void (*over)(const struct job *order))
{
    struct body *body = order->body;
    struct daemon *daemon = body->daemon;
    if (body->hangs || body->cgroup_fd < 0 || cgroup_is_populated(body->cgroup_fd) != 1)
        return false;
    struct drain *drain = calloc(1, sizeof(*drain));
    if (!drain)
        return false;
    *drain = (struct drain){.next = daemon->drains, .order = *order, .over = over};
    daemon->drains = drain;
    drain->events_fd = cgroup_open_events(body->cgroup_fd);
    /* asked after it is opened: no change is missed */
    bool waits = drain->events_fd >= 0 && cgroup_kill(body->cgroup_fd) == 0 &&
                 watch(drain, daemon->event) >= 0 &&
                 cgroup_events_populated(drain->events_fd) == 1;
    if (!waits)
        drain_free(drain);
    return waits;
}

void drains_forget(struct daemon *daemon)
{
    while (daemon->drains) {
        struct drain *drain = daemon->drains;
        daemon->drains = drain->next; /* plain that this comes to its end */
        drain_free(drain);
    }
}
