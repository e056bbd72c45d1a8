/* SPDX-License-Identifier: Apache-2.0 */
/* base64. Runs in client (encode) and isolated (decode); the text is the caller's. */
#include "spec/base64.h"

#include <stdint.h>
#include <string.h>

static const char digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

void base64_encode(struct buffer *out, const void *data, size_t length)
{
    const uint8_t *bytes = data;
    for (size_t i = 0; i < length; i += 3) {
        size_t n = length - i < 3 ? length - i : 3;
        uint32_t group = (uint32_t)bytes[i] << 16;
        if (n > 1)
            group |= (uint32_t)bytes[i + 1] << 8;
        if (n > 2)
            group |= bytes[i + 2];
        for (size_t k = 0; k <= n; k++)
            buffer_append_char(out, digits[group >> (18 - 6 * k) & 63]);
        for (size_t k = n; k < 3; k++)
            buffer_append_char(out, '=');
    }
}

/* Decodes into out, which has room; the number of bytes, or -1: not base64. */
static ssize_t decode(const char *text, size_t length, char *out)
{
    ssize_t o = 0;
    uint32_t group = 0;
    unsigned bits = 0;
    for (size_t i = 0; i < length; i++) {
        const char *digit = strchr(digits, text[i]);
        if (!digit)
            return -1;
        group = group << 6 | (uint32_t)(digit - digits);
        bits += 6;
        if (bits < 8)
            continue;
        bits -= 8;
        out[o++] = (char)(group >> bits & 0xFF);
    }
    return o;
}

/* A new string of *ret_length bytes and a NUL, or NULL. */
static char *decode_new(const char *text, size_t *ret_length)
{
    size_t length = strlen(text);
    if (length % 4 != 0)
        return NULL;
    size_t padding = length > 0 && text[length - 1] == '=' ? 1 + (text[length - 2] == '=') : 0;
    char *out = malloc(length / 4 * 3 + 1);
    ssize_t n = out ? decode(text, length - padding, out) : -1;
    if (n < 0) {
        free(out);
        return NULL;
    }
    out[n] = '\0';
    *ret_length = (size_t)n;
    return out;
}

int base64_decode(const char *text, size_t max, struct buffer *ret)
{
    size_t length = 0;
    if (strlen(text) > (max / 3 + 1) * 4)
        return -EINVAL;
    char *bytes = decode_new(text, &length);
    int r = bytes && length <= max ? 0 : -EINVAL;
    if (r == 0)
        buffer_append(ret, bytes, length);
    free(bytes);
    return r == 0 && ret->failed ? -ENOMEM : r;
}

char *base64_decode_text(const char *text)
{
    size_t length = 0;
    char *out = decode_new(text, &length);
    if (out && strlen(out) == length)
        return out;
    free(out);
    return NULL;
}
