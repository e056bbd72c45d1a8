/* SPDX-License-Identifier: Apache-2.0 */
/* Lists of processors as the kernel writes them: "0-3,5". Pure; the text may be hostile. */
#pragma once

#include "base/error.h"

#include <stdbool.h>
#include <stdint.h>

#define CPU_LIST_MAX  8192 /* processors: as many as Linux has */
#define CPU_LIST_TEXT 256  /* bytes of a list that somebody asks for, its NUL included */

struct cpu_list {
    uint64_t bits[CPU_LIST_MAX / 64];
};

/* Numbers and ranges (the smaller one first) with commas between them, no spaces; at least one
 * processor. what names the thing in the error. */
int cpu_list_parse(const char *text, struct cpu_list *ret, const char *what,
                   struct error *err) _must_check_;

/* Whether all processors of list are in whole, too. */
bool cpu_list_is_within(const struct cpu_list *list, const struct cpu_list *whole);
