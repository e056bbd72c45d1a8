/* SPDX-License-Identifier: Apache-2.0 */
/* base64 (RFC 4648), for bytes that are no UTF-8 in a JSON message. Pure; allocates. */
#pragma once

#include "base/buffer.h"

void base64_encode(struct buffer *out, const void *data, size_t length);

/* Appends the bytes of text; -EINVAL: not base64, or more than max bytes. */
int base64_decode(const char *text, size_t max, struct buffer *ret) _must_check_;

/* A new string, or NULL: not base64, a NUL inside, or no memory. */
char *base64_decode_text(const char *text);
