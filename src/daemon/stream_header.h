/* SPDX-License-Identifier: Apache-2.0 */
/* The header of a template's stream (image/stream.h), which isolated makes and checks. Pure. */
#pragma once

#include "storage/arrival.h"

#include <jansson.h>

struct stream_header {
    char driver[32]; /* for messages */
    bool is_native;  /* a stream of that driver's own */
    char template_name[NAME_TEMPLATE_MAX + 1];
    char source[256];
    char tree[65]; /* hash: 64 hexadecimal digits; "" of a native one of ZFS */
    struct generation_arrival arrival; /* without base */
    char base[GENERATION_SIZE];        /* as it is called where the stream was made; "": none */
    char base_identity[GENERATION_IDENTITY_SIZE];
    json_t
        *defaults; /* of a new template, checked; whose header it is releases it. NULL: none */
};

/* All of one that a driver's program makes; else all but tree and payload, which an image
 * worker adds. NULL: out of memory. */
char *stream_header_make(const struct storage *storage, const struct template_info *info,
                         const struct generation *generation, const struct generation *base,
                         bool has_program);
/* A text of whoever made the stream. ERROR_INVALID; ERROR_UNSUPPORTED for a payload of another
 * driver than it says, which this isolated does not know. */
int stream_header_read(const char *text, struct stream_header *ret,
                       struct error *err) _must_check_;
