/* SPDX-License-Identifier: Apache-2.0 */
#include "sys/filter_walk.h"

#include <linux/filter.h>

bool filter_next(struct filter_walk *walk, const void **ret, size_t *ret_size)
{
    if (walk->left < sizeof(struct filter_program))
        return false;
    const struct filter_program *header = (const struct filter_program *)walk->at;
    size_t size = header->n_instructions * sizeof(struct sock_filter);
    if (size > walk->left - sizeof(*header))
        return false;
    *ret = walk->at + sizeof(*header);
    *ret_size = size;
    walk->at += sizeof(*header) + size;
    walk->left -= sizeof(*header) + size;
    return true;
}
