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
 *   [Daemon]
 *   Group=isolate                    whose members may use the resident daemon
 *   SandboxesPerUser=256             at once, root's excepted
 *   [Pool]
 *   Parked=32                        most sandboxes kept ready per shape; 0: none
 */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct config {
    char *state_directory;
    char *runtime_directory;
    char *cgroup; /* "": the default that this machine uses */
    uint32_t first_id;
    uint32_t ranges;
    uint32_t keep_generations;
    char *group; /* a name, or a number */
    uint32_t sandboxes_per_user;
    uint32_t pool_parked;
};

#define _cleanup_config_ _cleanup_(config_clear)

/* Reads file (NULL: the installed default with its drop-ins, which may be missing). An unknown
 * section or key, or a bad value, is an error that names file and line. */
int config_load(const char *file, struct config *ret, struct error *err) _must_check_;

void config_clear(struct config *config);
