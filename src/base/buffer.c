/* SPDX-License-Identifier: Apache-2.0 */
/* A growing byte string. Runs in every process; holds what its owner puts in. */
#include "base/buffer.h"

#include "base/text.h"

#include <stdarg.h>

static bool buffer_reserve(struct buffer *buffer, size_t more)
{
    size_t need = buffer->length + more + 1;
    if (buffer->failed || need < more) {
        buffer->failed = true;
        return false;
    }
    if (need <= buffer->capacity)
        return true;
    size_t capacity = buffer->capacity ? buffer->capacity * 2 : 256;
    if (capacity < need)
        capacity = need;
    char *data = realloc(buffer->data, capacity);
    if (!data) {
        buffer->failed = true;
        return false;
    }
    buffer->data = data;
    buffer->capacity = capacity;
    return true;
}

void buffer_append(struct buffer *buffer, const void *data, size_t length)
{
    if (!buffer_reserve(buffer, length))
        return;
    if (length > 0)
        memcpy(buffer->data + buffer->length, data, length);
    buffer->length += length;
    buffer->data[buffer->length] = '\0';
}

void buffer_append_text(struct buffer *buffer, const char *text)
{
    buffer_append(buffer, text, strlen(text));
}

void buffer_append_char(struct buffer *buffer, char c)
{
    buffer_append(buffer, &c, 1);
}

void buffer_printf(struct buffer *buffer, const char *format, ...)
{
    char text[1024];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(text, sizeof(text), format, arguments);
    va_end(arguments);
    if (length < 0 || (size_t)length >= sizeof(text)) {
        buffer->failed = true;
        return;
    }
    buffer_append(buffer, text, (size_t)length);
}

void buffer_append_json_string(struct buffer *buffer, const char *text)
{
    buffer_append_char(buffer, '"');
    for (const char *p = text; *p; p++) {
        if (*p == '"' || *p == '\\') {
            buffer_append_char(buffer, '\\');
            buffer_append_char(buffer, *p);
        } else if ((unsigned char)*p < 0x20) {
            buffer_printf(buffer, "\\u%04x", *p);
        } else {
            buffer_append_char(buffer, *p);
        }
    }
    buffer_append_char(buffer, '"');
}

void buffer_append_shell_word(struct buffer *buffer, const char *word)
{
    static const char plain[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789"
                                "_-./:=@%+,";
    if (buffer->length > 0)
        buffer_append_char(buffer, ' ');
    if (*word && strspn(word, plain) == strlen(word)) {
        buffer_append_text(buffer, word);
        return;
    }
    buffer_append_char(buffer, '\'');
    for (const char *p = word; *p; p++)
        *p == '\'' ? buffer_append_text(buffer, "'\\''") : buffer_append_char(buffer, *p);
    buffer_append_char(buffer, '\'');
}

void buffer_clear(struct buffer *buffer)
{
    freep(&buffer->data);
    *buffer = (struct buffer){0};
}
