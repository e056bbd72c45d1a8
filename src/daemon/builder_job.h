/* SPDX-License-Identifier: Apache-2.0 */
/* One order to a builder, for builder.c alone. */
#pragma once

#include "daemon/builder.h"
#include "sys/packet.h"

struct job {
    struct job *next;
    uint32_t id;
    enum builder_packet type;
    struct build_order build;
    struct body *body;
    builder_done done;
    void *data;
    int unsent;   /* why it cannot be sent */
    bool is_left; /* it failed, and something of it is quarantined */
    sd_event_source *later;
};

bool job_builds(const struct job *job);

/* Never wait: -EAGAIN. What a sent order hands over is not the body's any more. */
int job_send(const struct job *job, const struct config *config, int link_fd) _must_check_;
/* Builders have isolated's configuration, not what the files say by the time they look. */
int job_send_config(const struct config *config, int link_fd, uint32_t id) _must_check_;

/* What the builder says of it, into the body: 0, or what went wrong. */
int job_take_result(struct job *job, struct packet *packet, struct error *err) _must_check_;
