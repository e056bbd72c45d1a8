/* SPDX-License-Identifier: Apache-2.0 */
/* Images of containers whose layers are kept one by one, so that what several images have in
 * common is there once (STORAGE_LAYERS). Everything is as in storage.h. */
#pragma once

#include "storage/storage.h"

/* So many layers may be of an image: others come on top, with each commit one. */
#define STORAGE_IMAGE_LAYERS_MAX 64
#define STORAGE_CHAIN_SIZE       72

/* What a layer is known by: texts of less than STORAGE_CHAIN_SIZE bytes. */
struct layer_content {
    const char *chain; /* of what is in it and in all below; "": nobody else has it */
    const char *blob;  /* of the file that it came in; "": not known */
};

/* What `begin` finds. */
enum layer_found {
    LAYER_NEW,
    LAYER_FOUND,      /* the storage has it */
    LAYER_FOUND_BLOB, /* and it came in that very file */
};

/* An import that becomes a list of layers. */
struct layering;

struct storage_layers {
    /* Begins with no layer at all, in an import (storage_driver.import) whose own tree stays as
     * it is. The storage must stay open. */
    int (*open)(struct storage *storage, const char *key, struct layering **ret,
                struct error *err);
    /* The next layer, above those so far. Who says the same chain gets the same layer; without
     * one it is left out where nothing was changed. LAYER_NEW: *ret_mount, detached, nosuid,
     * nodev, noexec, shows what is there so far, to be changed into what it is with the layer.
     * Else it is kept for this import; that the caller may have it is not asked here. */
    int (*begin)(struct layering *layering, const struct layer_content *content, int *ret_mount,
                 struct error *err);
    /* The new layer is what its chain says. Nobody has a file or the mount of it any more. */
    int (*end)(struct layering *layering, struct error *err);
    /* storage_driver.publish with these layers, of which there is one at least, instead of the
     * import's tree. */
    int (*publish)(struct layering *layering, const struct template_info *info,
                   char ret_generation[static GENERATION_SIZE], struct error *err);
    /* What was not published is gone, and the import is as it was before. NULL is none. */
    void (*close)(struct layering *layering);
};

/* The only driver whose generations are lists of layers. */
extern const struct storage_layers overlay_layers;
