/* SPDX-License-Identifier: Apache-2.0 */
/* How a generation of a store (store.h) comes to be of a complete import. */
#pragma once

#include "base/buffer.h"
#include "storage/store.h"

/* What a new generation has from elsewhere. NULL in its place: nothing. */
struct generation_about {
    bool pinned;
    time_t created;       /* 0: now */
    const char *identity; /* "": its top layer's key */
};

/* Writes a generation and makes it current: both or neither, whatever fails. Until `publishing`
 * is gone from the template's directory, a crash is settled by store_publish_settle. */
int store_generation_publish(struct storage *storage, const struct template_info *info,
                             const char *id, const struct layer_stack *stack,
                             const struct generation_about *about,
                             struct error *err) _must_check_;

/* A complete import becomes the top layer of that stack, and it the current generation; under
 * the exclusive lock. */
struct store_publication {
    const char *key;
    const struct template_info *info;
    const char *generation;
    const struct generation_about *about; /* or NULL */
};
int store_publish_stack(struct storage *storage, const struct store_publication *publication,
                        struct layer_stack *stack, struct error *err) _must_check_;
/* A complete import becomes that generation; under the exclusive lock. */
int store_publish_locked(struct storage *storage, const char *key,
                         const struct template_info *info, const char *generation,
                         struct error *err) _must_check_;

/* How a collector notes that something needs a layer. */
void store_layer_mark(struct buffer *marks, const struct layer *layer);

/* store_layer_write without syncing anything; content: of an image's layer, else NULL. */
int store_layer_describe(struct storage *storage, int layer_fd, uint32_t first_id,
                         const struct layer_content *content, struct error *err) _must_check_;
