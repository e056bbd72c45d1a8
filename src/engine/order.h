/* SPDX-License-Identifier: Apache-2.0 */
/* What a foreign engine is told: its arguments and its configuration, made by pure functions
 * from a plan, which holds validated values only. Runs in isolated as root. */
#pragma once

#include "base/args.h"
#include "base/buffer.h"
#include "engine/engine.h"

#define ORDER_ARGS_MAX 512
#define ORDER_PATHS    32

struct engine_plan {
    uint64_t capabilities; /* that the inner init has for itself and the command */
    const char *hostname;
    bool host_network;   /* no namespace of the pod's */
    const char *program; /* of an engine that has a choice: absolute */
    uint64_t chance;     /* for a name that nobody else can have taken */
    /* in proc: what is to be hidden (it exists), and what is made read-only */
    struct {
        const char *path;
        bool is_directory;
    } hidden[ORDER_PATHS];
    size_t n_hidden;
    const char *read_only[ORDER_PATHS];
    size_t n_read_only;
};

struct engine_order {
    struct args args; /* into items */
    const char *items[ORDER_ARGS_MAX];
    uint32_t flags;                 /* START_ENGINE_* */
    const char *const *environment; /* NULL-terminated; NULL: none */
    char name[48];                  /* an argument, where one is by chance */
    const char *file;               /* of its configuration, in its own root; NULL: none */
    struct buffer text;             /* which is this */
};

/* Fills an order that is empty but for args. 0 or -ENOMEM. */
typedef int order_make(const struct engine_plan *plan, struct engine_order *ret);

/* bwrap_argv.c, oci_config.c, lxc_config.c, nspawn_argv.c */
order_make bwrap_order;
order_make oci_order;
order_make lxc_order;
order_make lxc_order_confined; /* by AppArmor */
order_make nspawn_order;
#define LXC_PROGRAM    "/usr/bin/lxc-start"
#define NSPAWN_PROGRAM "/usr/bin/systemd-nspawn"

/* order.c: makes the order of a claim, and a start of it (engine.h, complete). program: as in
 * the plan. */
int order_complete(const struct engine_claim *claim, order_make *make, const char *program,
                   struct engine_told *ret, struct error *err) _must_check_;

/* 0, or what to install. */
int order_find(const char *engine, const char *program, const char *package,
               struct error *err) _must_check_;

/* A pod for a foreign engine, which can read what its cgroup is. */
int order_spawn(const struct engine_shape *shape, struct engine_instance *ret,
                struct error *err) _must_check_;
int order_build(const struct engine_instance *instance, const struct engine_shape *shape,
                int root_mount_fd, struct error *err) _must_check_;
