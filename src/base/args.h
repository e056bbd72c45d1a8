/* SPDX-License-Identifier: Apache-2.0 */
/* A list of arguments of a fixed size, whose strings are borrowed. */
#pragma once

#include <stddef.h>

struct args {
    const char **items; /* always NULL-terminated once something was added */
    size_t max;         /* places, with that of the NULL; what does not fit is left out */
    size_t n;
};

/* An argument and up to two more; NULL: none. */
void args_add(struct args *args, const char *first, const char *second, const char *third);
