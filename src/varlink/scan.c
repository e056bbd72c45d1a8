/* SPDX-License-Identifier: Apache-2.0 */
/* Looking one value up in a JSON message, for the client, which links no JSON library, and for
 * isolated and its decoder before one builds a tree of it. The text comes from the peer; it is
 * walked once, by bytes, and never trusted to be well-formed. */
#include "base/text.h"
#include "varlink/varlink.h"

#include <string.h>

static const char *skip_space(const char *p)
{
    return p + strspn(p, " \t\r\n");
}

/* Behind the string that begins at p ('"'), or NULL. */
static const char *skip_string(const char *p)
{
    for (p++; *p && *p != '"'; p++)
        if (*p == '\\' && *++p == '\0')
            return NULL;
    return *p ? p + 1 : NULL;
}

/* Behind the value at p, whatever its type, or NULL. */
static const char *skip_value(const char *p)
{
    unsigned depth = 0;
    do {
        p = skip_space(p);
        if (*p == '"') {
            p = skip_string(p);
            if (!p)
                return NULL;
        } else if (*p == '{' || *p == '[') {
            depth++;
            p++;
        } else if (*p == '}' || *p == ']') {
            if (depth == 0)
                return NULL;
            depth--;
            p++;
        } else if (*p == ',' || *p == ':') {
            if (depth == 0)
                return NULL;
            p++;
        } else {
            size_t n = strcspn(p, ",:{}[]\" \t\r\n");
            if (n == 0)
                return NULL;
            p += n;
        }
    } while (depth > 0);
    return p;
}

/* The value of `key` (length bytes) in the object that begins at p, or NULL. */
static const char *find_member(const char *p, const char *key, size_t length)
{
    p = skip_space(p);
    if (*p != '{')
        return NULL;
    p = skip_space(p + 1);
    while (*p == '"') {
        const char *name = p + 1;
        const char *end = skip_string(p);
        if (!end)
            return NULL;
        bool found = (size_t)(end - 1 - name) == length && memcmp(name, key, length) == 0;
        p = skip_space(end);
        if (*p != ':')
            return NULL;
        p = skip_space(p + 1);
        if (found)
            return p;
        p = skip_value(p);
        if (!p)
            return NULL;
        p = skip_space(p);
        if (*p == ',')
            p = skip_space(p + 1);
    }
    return NULL;
}

const char *json_scan(const char *text, const char *path, size_t *ret_length)
{
    const char *value = text;
    while (value && *path) {
        size_t length = strcspn(path, ".");
        value = find_member(value, path, length);
        path += length + (path[length] == '.');
    }
    const char *end = value ? skip_value(value) : NULL;
    if (!end)
        return NULL;
    *ret_length = (size_t)(end - value);
    return value;
}

size_t json_count_values(const char *text)
{
    size_t n = 0;
    for (const char *p = text; *p; p++) {
        if (*p == '"') {
            p = skip_string(p);
            if (!p)
                break;
            p--;
        } else {
            n += *p == '{' || *p == '[' || *p == ',' || *p == ':';
        }
    }
    return n;
}

/* One \uXXXX to UTF-8; surrogate pairs become '?', which messages never need. */
static size_t unescape_unicode(const char *p, char out[static 4])
{
    unsigned code = 0;
    for (int i = 0; i < 4; i++) {
        char c = p[i];
        unsigned digit = c >= '0' && c <= '9'   ? (unsigned)(c - '0')
                         : c >= 'a' && c <= 'f' ? (unsigned)(c - 'a' + 10)
                         : c >= 'A' && c <= 'F' ? (unsigned)(c - 'A' + 10)
                                                : 16;
        if (digit > 15)
            return 0;
        code = code * 16 + digit;
    }
    if (code < 0x80) {
        out[0] = (char)code;
        return 1;
    }
    if (code < 0x800) {
        out[0] = (char)(0xC0 | code >> 6);
        out[1] = (char)(0x80 | (code & 0x3F));
        return 2;
    }
    if (code >= 0xD800 && code < 0xE000) {
        out[0] = '?';
        return 1;
    }
    out[0] = (char)(0xE0 | code >> 12);
    out[1] = (char)(0x80 | (code >> 6 & 0x3F));
    out[2] = (char)(0x80 | (code & 0x3F));
    return 3;
}

/* One escape at p (behind the backslash): its bytes in out, its length in *used. */
static size_t unescape(const char *p, char out[static 4], size_t *used)
{
    static const char from[] = "\"\\/bfnrt";
    static const char to[] = "\"\\/\b\f\n\r\t";
    const char *at = *p ? strchr(from, *p) : NULL;
    *used = 1;
    if (at) {
        out[0] = to[at - from];
        return 1;
    }
    if (*p != 'u')
        return 0;
    *used = 5;
    return unescape_unicode(p + 1, out);
}

bool json_scan_string(const char *text, const char *path, char *out, size_t size)
{
    size_t length = 0;
    const char *value = json_scan(text, path, &length);
    if (!value || length < 2 || *value != '"')
        return false;
    const char *end = value + length - 1;
    size_t o = 0;
    for (const char *p = value + 1; p < end;) {
        char piece[4] = {*p};
        size_t n = 1;
        size_t used = 0;
        if (*p++ == '\\') {
            n = unescape(p, piece, &used);
            p += used;
            if (n == 0)
                return false;
        }
        if (o + n >= size)
            break;
        memcpy(out + o, piece, n);
        o += n;
    }
    out[o] = '\0';
    return true;
}
