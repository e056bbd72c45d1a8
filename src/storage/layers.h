/* SPDX-License-Identifier: Apache-2.0 */
/* Images of containers whose layers are kept one by one, so that what several images have in
 * common is there once (STORAGE_LAYERS). Everything is as in storage.h. */
#pragma once

#include "storage/storage.h"

/* So many layers may be of an image: others come on top, with each commit one. */
#define STORAGE_IMAGE_LAYERS_MAX 64
#define STORAGE_CHAIN_SIZE       72

/* An import that becomes a list of layers. */
struct layering;

struct storage_layers {
    /* Begins with no layer at all, in an import (storage_driver.import) whose own tree stays as
     * it is. The storage must stay open. */
    int (*open)(struct storage *storage, const char *key, struct layering **ret,
                struct error *err);
    /* The next layer, above those so far. chain, of at most STORAGE_CHAIN_SIZE bytes, stands
     * for its content and that of all below: others that say the same get the same layer. "":
     * it is nobody else's, and left out where nothing was changed. 1: the storage has it, and
     * keeps it for this import. 0: *ret_mount, detached, nosuid, nodev, noexec, shows what is
     * there so far, to be changed into what it is with the layer. */
    int (*begin)(struct layering *layering, const char *chain, int *ret_mount,
                 struct error *err);
    /* The layer is what its chain says. Nobody has a file or the mount of it any more. */
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
