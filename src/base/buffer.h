/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte string, always NUL-terminated behind its length. Not safe between fork and
 * exec: it allocates. */
#pragma once

#include "base/cleanup.h"

#include <stdbool.h>
#include <stddef.h>

struct buffer {
    char *data;    /* NULL while empty */
    size_t length; /* bytes before the terminating NUL */
    size_t capacity;
    bool failed; /* memory ran out: the content is not to be used */
};

#define _cleanup_buffer_ _cleanup_(buffer_clear)

/* Appends. On lack of memory nothing is written and `failed` is set, so that a caller may check
 * once at the end. */
void buffer_append(struct buffer *buffer, const void *data, size_t length);
void buffer_append_text(struct buffer *buffer, const char *text);
void buffer_append_char(struct buffer *buffer, char c);
/* At most 1023 bytes at a time. */
void buffer_printf(struct buffer *buffer, const char *format, ...) _printf_(2, 3);

/* Appends text as a JSON string with its quotes. Text must be valid UTF-8. */
void buffer_append_json_string(struct buffer *buffer, const char *text);

/* Appends a word of a list as a shell would read it: quoted where it must be, behind a space
 * where something is there already. */
void buffer_append_shell_word(struct buffer *buffer, const char *word);

/* Frees the content and makes the buffer empty. */
void buffer_clear(struct buffer *buffer);
