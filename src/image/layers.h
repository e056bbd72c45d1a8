/* SPDX-License-Identifier: Apache-2.0 */
/* How the layers of an image come into a storage that keeps them one by one
 * (storage/layers.h). The worker asks isolated, over a socket of packets; the mounts are made
 * there. Each question is answered before the next one. */
#pragma once

#include "base/error.h"

#include <stdint.h>

/* What the storage says of them: storage/layers.h. */
#define IMAGE_LAYERS_MAX        64
#define IMAGE_LAYERS_CHAIN_SIZE 72

enum image_layers_found {
    IMAGE_LAYERS_NEW,
    IMAGE_LAYERS_FOUND,
    IMAGE_LAYERS_FOUND_BLOB,
};

enum image_layers_ask_kind {
    IMAGE_LAYERS_BEGIN,  /* the layer of that chain: where it is new, a mount comes along */
    IMAGE_LAYERS_END,    /* it is complete, and all of it has been checked */
    IMAGE_LAYERS_FORGET, /* there are none: everything is in the import's own tree */
};

struct image_layers_ask {
    uint32_t kind;
    char chain[IMAGE_LAYERS_CHAIN_SIZE];
    char blob[IMAGE_LAYERS_CHAIN_SIZE];
};

struct image_layers_answer {
    struct error error; /* code ERROR_NONE: none */
    uint32_t found;
};

/* layers.c: the worker's side. One of image_layers_found; where it is new, *ret_mount is to be
 * filled. */
int image_layers_begin(int socket_fd, const char *chain, const char *blob, int *ret_mount,
                       struct error *err) _must_check_;
/* Nothing of the mount is held by anybody any more. */
int image_layers_end(int socket_fd, struct error *err) _must_check_;
int image_layers_forget(int socket_fd, struct error *err) _must_check_;
