/* SPDX-License-Identifier: Apache-2.0 */
/* Generations that were made in another storage, and come in under their own names. Everything
 * is as in storage.h. */
#pragma once

#include "storage/storage.h"

/* What is being received. */
struct storage_import {
    char key[64];
    int tree_fd;   /* to fill */
    bool is_layer; /* only what differs from the base, as overlayfs has it in an upper */
};

/* A generation of another storage that has been received into an import. */
struct generation_arrival {
    char id[GENERATION_SIZE];
    char identity[GENERATION_IDENTITY_SIZE];
    char base[GENERATION_SIZE]; /* of this storage, which it follows; "": of a new template */
    bool pinned;
    time_t created;
};

/* base: the current generation, which the new one follows, or "" where that makes a new
 * template. Abort takes what has begun away. */
struct storage_arrivals {
    /* Begins an import, which is empty, for a layer, or holds what the base does. */
    int (*begin)(struct storage *storage, const char *template_name, const char *base,
                 struct storage_import *ret, struct error *err);
    /* Shows it, read-only, as the generation that it would be. */
    int (*mount)(struct storage *storage, const char *template_name, const char *base,
                 const struct storage_import *import, int *ret_mount, struct error *err);
    /* Makes it that, and the current one. */
    int (*publish)(struct storage *storage, const struct storage_import *import,
                   const struct template_info *info, const struct generation_arrival *arrival,
                   struct error *err);
};

/* Whether it still fits, behind the lock that keeps others out. current: that generation's id,
 * NULL where there is no such template; is_there: there is one of the arrival's id. */
int arrival_check(const char *template_name, const struct generation_arrival *arrival,
                  const char *current, bool is_there, struct error *err) _must_check_;

/* Of drivers that keep a store (store.h). */
extern const struct storage_arrivals store_arrivals;
