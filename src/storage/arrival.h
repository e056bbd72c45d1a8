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

/* What writes a stream of the driver's own to its stdout. */
struct storage_native_program {
    const char *argv[8];
    char names[2][STORAGE_NAME_SIZE + GENERATION_SIZE]; /* in argv */
};

/* Streams of the driver's own, which only the same driver understands, and better than any:
 * `template send --native`. In the kernel they are read with its rights: only root sends one
 * here. Those of btrfs (STORAGE_SUBVOLUMES) are none of these: an image worker makes of an
 * import what they say, as it does with an archive. */
struct storage_natives {
    /* base NULL: all of the generation. */
    int (*program)(struct storage *storage, const char *template_name, const char *generation,
                   const char *base, struct storage_native_program *ret, struct error *err);
    /* Begins an import, and an empty file that takes the stream: nothing reads it before it is
     * known to be what was sent. ret->tree_fd is the import's directory. */
    int (*begin)(struct storage *storage, const char *base, struct storage_import *ret,
                 int *ret_payload, struct error *err);
    /* That file becomes the generation, and the current one. Blocks for as long as that takes.
     */
    int (*publish)(struct storage *storage, const struct storage_import *import, int payload,
                   const struct template_info *info, const struct generation_arrival *arrival,
                   struct error *err);
};

/* base: the current generation, which the new one follows, or "" where that makes a new
 * template. Abort takes what has begun away. What is returned in ret is the caller's, its fds
 * are to be closed. -errno; ERROR_EXISTS, ERROR_BUSY or ERROR_NOT_FOUND where it does not fit
 * (any more), ERROR_NO_SPACE for a full disk or too many layers. */
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
    const struct storage_natives *natives; /* NULL: none */
};

/* Whether it still fits, behind the lock that keeps others out. current: that generation's id,
 * NULL where there is no such template; is_there: there is one of the arrival's id. */
int arrival_check(const char *template_name, const struct generation_arrival *arrival,
                  const char *current, bool is_there, struct error *err) _must_check_;

/* Of drivers that keep a store (store.h). */
extern const struct storage_arrivals store_arrivals;
