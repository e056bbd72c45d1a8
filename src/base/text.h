/* SPDX-License-Identifier: Apache-2.0 */
/* Small operations on strings: comparison, escaping for terminals, UTF-8. Pure; no privilege;
 * safe everywhere. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

static inline bool streq(const char *a, const char *b)
{
    return strcmp(a, b) == 0;
}

/* The rest of text behind prefix, or NULL where text does not begin with it. */
const char *text_after(const char *text, const char *prefix);

/* Copies text into out (size bytes, always terminated), every control character, DEL, mark of
 * text direction and byte that is not valid UTF-8 written as \xNN, so that a hostile name
 * cannot drive a terminal. */
void text_escape(char *out, size_t size, const char *text);

/* Whether word is one of the words of text, which spaces and newlines separate. */
bool text_has_word(const char *text, const char *word);

/* Whether length bytes of text are valid UTF-8 without NUL. */
bool text_is_utf8(const char *text, size_t length);

/* The candidate that word was most likely meant to be, or NULL where none is near: at most a
 * third of its letters wrong (Damerau-Levenshtein, words up to 63 bytes). */
const char *text_nearest(const char *word, const char *const *candidates, size_t n);
