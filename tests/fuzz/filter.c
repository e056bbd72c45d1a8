/* SPDX-License-Identifier: Apache-2.0 */
/* sys/filter_walk.c: filters as they are handed on. */
#include "target.h"

#include "sys/filter_walk.h"

#include <stdlib.h>
#include <string.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    _cleanup_free_ char *copy = malloc(size + !size);
    const void *program = NULL;
    size_t length = 0;
    if (!copy)
        return;
    memcpy(copy, data, size);
    struct filter_walk walk = {.at = copy, .left = size};
    while (filter_next(&walk, size % 2 ? FILTER_EARLY : FILTER_LATE, &program, &length)) {
        MUST((const char *)program >= copy && (const char *)program + length <= copy + size);
        MUST((size_t)(walk.at - copy) + walk.left == size);
    }
}
