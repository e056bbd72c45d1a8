/* SPDX-License-Identifier: Apache-2.0 */
/* Strings, seen as text for people. Pure functions; input may be hostile. */
#include "base/text.h"

#include <stdint.h>
#include <stdio.h>

const char *text_after(const char *text, const char *prefix)
{
    size_t n = strlen(prefix);
    return strncmp(text, prefix, n) == 0 ? text + n : NULL;
}

bool text_has_word(const char *text, const char *word)
{
    size_t length = strlen(word);
    while (*text) {
        size_t n = strcspn(text, " \n");
        if (n == length && strncmp(text, word, n) == 0)
            return true;
        text += n + strspn(text + n, " \n");
    }
    return false;
}

/* Length of the valid UTF-8 sequence at s (at most left bytes), 0 where there is none.
 * RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. */
static size_t utf8_sequence(const unsigned char *s, size_t left)
{
    if (s[0] < 0x80)
        return 1;
    size_t n = s[0] >= 0xC2 && s[0] <= 0xDF   ? 2
               : s[0] >= 0xE0 && s[0] <= 0xEF ? 3
               : s[0] >= 0xF0 && s[0] <= 0xF4 ? 4
                                              : 0;
    if (n == 0 || n > left)
        return 0;
    for (size_t i = 1; i < n; i++)
        if ((s[i] & 0xC0) != 0x80)
            return 0;
    if ((s[0] == 0xE0 && s[1] < 0xA0) || (s[0] == 0xED && s[1] > 0x9F) ||
        (s[0] == 0xF0 && s[1] < 0x90) || (s[0] == 0xF4 && s[1] > 0x8F))
        return 0;
    return n;
}

/* U+200E, U+200F, U+202A to U+202E and U+2066 to U+2069 change the order of what follows. */
static bool is_bidi(const unsigned char *s, size_t n)
{
    if (n != 3 || s[0] != 0xE2)
        return false;
    return (s[1] == 0x80 && (s[2] == 0x8E || s[2] == 0x8F || (s[2] >= 0xAA && s[2] <= 0xAE))) ||
           (s[1] == 0x81 && s[2] >= 0xA6 && s[2] <= 0xA9);
}

bool text_is_utf8(const char *text, size_t length)
{
    const unsigned char *s = (const unsigned char *)text;
    for (size_t i = 0; i < length;) {
        size_t n = s[i] ? utf8_sequence(s + i, length - i) : 0;
        if (n == 0)
            return false;
        i += n;
    }
    return true;
}

void text_escape(char *out, size_t size, const char *text)
{
    const unsigned char *s = (const unsigned char *)text;
    size_t left = strlen(text);
    size_t o = 0;
    while (left > 0) {
        size_t n = utf8_sequence(s, left);
        /* C1 controls (U+0080 to U+009F) are two bytes and still drive some terminals */
        bool control = n == 0 || s[0] < 0x20 || s[0] == 0x7F || (s[0] == 0xC2 && s[1] < 0xA0);
        control = control || is_bidi(s, n);
        if (n == 0)
            n = 1;
        size_t need = control ? 4 * n : n;
        if (o + need >= size)
            break;
        for (size_t i = 0; i < n; i++) {
            if (control)
                o += (size_t)snprintf(out + o, size - o, "\\x%02x", s[i]);
            else
                out[o++] = (char)s[i];
        }
        s += n;
        left -= n;
    }
    if (size > 0)
        out[o] = '\0';
}

#define WORD_MAX 63

static size_t edit_distance(const char *a, const char *b)
{
    size_t la = strlen(a);
    size_t lb = strlen(b);
    if (la > WORD_MAX || lb > WORD_MAX)
        return SIZE_MAX;
    uint8_t row[3][WORD_MAX + 1]; /* two rows back, one row back, this row */
    for (size_t j = 0; j <= lb; j++)
        row[1][j] = (uint8_t)j;
    for (size_t i = 1; i <= la; i++) {
        row[2][0] = (uint8_t)i;
        for (size_t j = 1; j <= lb; j++) {
            uint8_t best = (uint8_t)(row[1][j - 1] + (a[i - 1] != b[j - 1]));
            if (row[1][j] + 1 < best)
                best = (uint8_t)(row[1][j] + 1);
            if (row[2][j - 1] + 1 < best)
                best = (uint8_t)(row[2][j - 1] + 1);
            if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1] &&
                row[0][j - 2] + 1 < best)
                best = (uint8_t)(row[0][j - 2] + 1);
            row[2][j] = best;
        }
        memcpy(row[0], row[1], sizeof(row[0]));
        memcpy(row[1], row[2], sizeof(row[1]));
    }
    return row[1][lb];
}

const char *text_nearest(const char *word, const char *const *candidates, size_t n)
{
    const char *nearest = NULL;
    size_t limit = strlen(word) / 3 + 1; /* the first distance that is too far */
    for (size_t i = 0; i < n; i++) {
        size_t distance = edit_distance(word, candidates[i]);
        if (distance < limit) {
            nearest = candidates[i];
            limit = distance;
        }
    }
    return nearest;
}
