/* SPDX-License-Identifier: Apache-2.0 */
/* spec/start.c: what is decoded is encoded to the same bytes again. */
#include "target.h"

#include "spec/start.h"

#include <stdlib.h>
#include <string.h>

const bool target_needs_walls = false;

void target_run(const uint8_t *data, size_t size)
{
    struct error err = {0};
    struct start start = {0};
    _cleanup_buffer_ struct buffer again = {0};
    /* a copy of its exact size, so that a step beyond its end is seen */
    _cleanup_free_ char *copy = malloc(size + !size);
    if (!copy)
        return;
    memcpy(copy, data, size);
    if (start_decode(copy, size, &start, &err) < 0) {
        MUST(err.code == ERROR_PROTOCOL);
        return;
    }
    MUST(start_encode(&start, &again, &err) == 0);
    MUST(again.length == size && memcmp(again.data, copy, size) == 0);
    start_clear(&start);
}
