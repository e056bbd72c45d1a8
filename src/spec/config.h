/* SPDX-License-Identifier: Apache-2.0 */
/* The configuration of isolated: /etc/isolate/isolated.conf and isolated.conf.d/NAME.conf, INI
 * as systemd's. Every key has a default, so no file is needed. Read as root; only root may
 * write it.
 *
 *   [Paths]
 *   StateDirectory=/var/lib/isolate  templates, clones, kept sandboxes; made 0700
 *   RuntimeDirectory=/run/isolate    records, locks, the socket; on a tmpfs, else one is
 *                                    mounted there
 *   [Sandboxes]
 *   Cgroup=                          path below the cgroup2 mount of the group that holds
 *                                    all leaves; made, its parent is not. Empty: that of
 *                                    isolate-sandboxes.service while it runs, else isolate
 *   FirstId=1879048192               ids of sandboxes: Ranges blocks of 65536 from here,
 *   Ranges=4094                      outside of what systemd and /etc/subuid hand out
 *   [Templates]
 *   KeepGenerations=1                superseded generations kept for rollback besides
 *                                    those in use and those that `template snapshot` made
 *   Storage=                         of new templates, as `template create --storage` takes
 *                                    it; empty: the best for the state directory
 *   [Daemon]
 *   Group=isolate                    whose members may use the resident daemon
 *   SandboxesPerUser=                older word for Sandboxes= of [Policy]
 *   IdleExit=0                       seconds without work after which a socket-activated
 *                                    daemon ends; 0: never
 *   [Limits]
 *   Ulimits=                         resource limits of the processes of sandboxes, as --ulimit
 *                                    takes them, with spaces between them; who is not root may
 *                                    only ask for lower hard limits
 *   [Network], [Devices]
 *   Members=                         older words for Networks= and Devices= of [Policy]
 *   [Policy]                         what all members may: see policy.h
 *   Engines=native bwrap lxc nspawn oci
 *   Networks=none                    of none, nat, host and bridge=NAME
 *   Devices=                         paths of devices, which they must be able to open, too
 *   Seccomp=default strict           filters of system calls, as --seccomp; and 32bit
 *   Capabilities=default             for uid 0 of a sandbox
 *   Memory= Swap= CPUs= Pids= Disk= Time=
 *                                    ceilings of one sandbox, and what it has unless less is
 *                                    asked for; not said: none
 *   Sandboxes=256                    at once, and as many kept ones, of one user
 *   [Pool]
 *   Parked=32                        most sandboxes kept ready per shape; 0: none
 *   Fresh=2                          clones made beside them, for the next to be built in
 *
 * In templates.d beside it, NAME.conf for the template NAME:
 *   [Template]
 *   Root=/path                          a directory that members may use as template
 *   [Pool]
 *   Parked=N                            so many are kept ready whatever the demand
 *   [Policy]                            the same keys: what is not here is not for members
 *   Users= Groups=                      who may use it; neither: all members
 * What is wrong in one of these makes that template unusable and nothing else.
 *
 * In groups.d beside it, NAME.conf for the group NAME of the machine:
 *   [Policy]                            the same keys: what its members may, too
 * What is wrong in one of these makes that it gives nothing.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"
#include "spec/config_policy.h"
#include "spec/rlimits.h"

#include <stdbool.h>
#include <stdint.h>

/* templates.d/NAME.conf: what is said of one template. */
struct template_config {
    char name[64];
    char *root;        /* a directory that is the template; NULL: one that isolate keeps */
    int parked;        /* kept ready whatever the demand; -1: by demand */
    char problem[256]; /* why it cannot be used, or "" */
    struct policy policy;
    struct config_accounts users;
    struct config_accounts groups;
};

struct config {
    char *state_directory;
    char *runtime_directory;
    char *cgroup; /* "": the default that this machine uses */
    uint32_t first_id;
    uint32_t ranges;
    uint32_t keep_generations;
    char *storage; /* of new templates; "": the best for the state directory */
    struct template_config *templates; /* of templates.d, by name */
    size_t n_templates;
    uint32_t idle_exit_s; /* 0: never */
    char *group;          /* a name, or a number */
    uint32_t pool_parked;
    uint32_t pool_fresh;
    struct policy policy;       /* of all members, with its defaults */
    struct policy older_policy; /* nothing any more, once all is read */
    struct group_config *groups;
    size_t n_groups;
    struct rlimit_wishes ulimits;
};

#define _cleanup_config_ _cleanup_(config_clear)

/* Reads file (NULL: the installed default with its drop-ins, which may be missing). An unknown
 * section or key, or a bad value, is an error that names file and line. */
int config_load(const char *file, struct config *ret, struct error *err) _must_check_;

void config_clear(struct config *config);

/* The configuration, without policy, templates.d and groups.d, as a file that config_load
 * reads. */
void config_print(const struct config *config, struct buffer *ret);

/* What templates.d says of that template, or NULL. */
const struct template_config *config_template(const struct config *config, const char *name);
