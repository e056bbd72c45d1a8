/* SPDX-License-Identifier: Apache-2.0 */
/* What an image worker asks of a storage that keeps layers one by one. */
#pragma once

#include "base/error.h"

struct daemon;
struct layering;
struct storage;

struct image_layers;

/* Answers a worker over the socket whose other end is *ret_fd, for an import of the storage,
 * which must stay open. */
int image_layers_start(struct daemon *daemon, struct storage *storage, const char *key,
                       struct image_layers **ret, int *ret_fd, struct error *err) _must_check_;
/* What the worker has made, borrowed; NULL where everything is in the import's tree. */
struct layering *image_layers_made(const struct image_layers *layers);
/* What was not published is gone. NULL is none. */
void image_layers_free(struct image_layers *layers);
