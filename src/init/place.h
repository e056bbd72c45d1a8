/* SPDX-License-Identifier: Apache-2.0 */
/* Where binds and tmpfs go, in init, as root of the sandbox's user namespace: place.c mounts
 * them, target.c says where their targets lead. */
#pragma once

#include "init/init.h"

struct place {
    const char *target; /* as the caller has it: absolute, without "." and ".." */
    const char *path;   /* where that leads in the sandbox; the same, or resolved */
    char *resolved;     /* allocated, or NULL */
    bool is_plain;      /* no symbolic link is on the way */
    bool is_bind;
    bool is_read_only;
    bool is_directory;
    int mount_fd; /* borrowed; -EBADF: a tmpfs of this size, to be made */
    uint64_t size_bytes;
};

struct place_list {
    const char *private_directory; /* nothing may cover it; "": none */
    const struct start_engine *engine;
    size_t n;
    struct place places[START_BINDS + START_TMPFS];
};

/* Whether path is below parent. */
bool place_is_below(const char *path, const char *parent);

/* Finds each place's path, which is its target before. Nothing of a caller's may be mounted
 * yet. What is behind the root's own symbolic links is found as if they were followed within
 * the root; behind what does not exist, and behind another's place, the rest is taken as it is.
 * Refuses what two lead to, or what belongs to the sandbox's own file systems. */
int places_resolve(struct place_list *list, struct error *err) _must_check_;
