/* SPDX-License-Identifier: Apache-2.0 */
/* How the layers of an image come into a storage that keeps them one by one
 * (storage/layers.h). The worker asks isolated, over a socket of packets; the mounts are made
 * there. Each question is answered before the next one. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* What the storage says of both: STORAGE_… */
#define IMAGE_LAYERS_MAX        64
#define IMAGE_LAYERS_CHAIN_SIZE 72

enum image_layers_ask_kind {
    IMAGE_LAYERS_BEGIN,  /* the layer of that chain: it is there, or a mount comes along */
    IMAGE_LAYERS_END,    /* it is complete, and all of it has been checked */
    IMAGE_LAYERS_FORGET, /* there are none: everything is in the import's own tree */
};

struct image_layers_ask {
    uint32_t kind;
    char chain[IMAGE_LAYERS_CHAIN_SIZE];
};

struct image_layers_answer {
    struct error error; /* code ERROR_NONE: none */
    uint32_t is_there;
};

/* layers.c: the worker's side. 1: the layer is there. 0: *ret_mount is to be filled. */
int image_layers_begin(int socket_fd, const char *chain, int *ret_mount,
                       struct error *err) _must_check_;
/* Nothing of the mount is held by anybody any more. */
int image_layers_end(int socket_fd, struct error *err) _must_check_;
int image_layers_forget(int socket_fd, struct error *err) _must_check_;
