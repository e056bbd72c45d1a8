/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/filter_walk.h"

#include <linux/filter.h>

bool filter_next(struct filter_walk *walk, enum filter_when when, const void **ret,
                 size_t *ret_size)
{
    while (walk->left >= sizeof(struct filter_program)) {
        const struct filter_program *header = (const struct filter_program *)walk->at;
        size_t size = header->n_instructions * sizeof(struct sock_filter);
        if (size > walk->left - sizeof(*header))
            return false;
        *ret = walk->at + sizeof(*header);
        *ret_size = size;
        walk->at += sizeof(*header) + size;
        walk->left -= sizeof(*header) + size;
        if (header->when == when)
            return true;
    }
    return false;
}
