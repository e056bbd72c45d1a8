/* SPDX-License-Identifier: Apache-2.0 */
/* The filters as they were compiled when isolate was built. Runs in isolated. */
#include "sys/filter.h"
#include "sys/filter_walk.h"

#include "filters.h"

const void *filter_programs(uint32_t flags, size_t *ret_length)
{
    *ret_length = filter_sets[flags].length;
    return filter_sets[flags].programs;
}

unsigned filter_count(uint32_t flags)
{
    unsigned n = 0;
    size_t size = 0;
    const void *instructions = NULL;
    struct filter_walk walk = {0};
    walk.at = filter_programs(flags, &walk.left);
    while (filter_next(&walk, FILTER_EARLY, &instructions, &size))
        n++;
    return n;
}
