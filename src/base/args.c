/* SPDX-License-Identifier: Apache-2.0 */
#include "base/args.h"

#include "base/cleanup.h"
#include "base/text.h"

void args_add(struct args *args, const char *first, const char *second, const char *third)
{
    const char *const words[] = {first, second, third};
    for (size_t i = 0; i < ELEMENTS(words); i++)
        if (words[i] && args->n + 1 < args->max)
            args->items[args->n++] = words[i];
    args->items[args->n] = NULL;
}
