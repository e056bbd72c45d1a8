/* SPDX-License-Identifier: Apache-2.0 */
/* System call filters as they are handed on: programs one behind the other, each a header and
 * its instructions (struct sock_filter, 8 bytes each). All are loaded; the kernel takes the
 * strictest answer of them. Pure. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct filter_program {
    uint32_t n_instructions;
    uint32_t when; /* FILTER_EARLY, FILTER_LATE */
};
#define FILTER_PROGRAMS_MAX 4

/* Early: as soon as the process has nothing more to do that the program forbids, which is what
 * isolate wrote. Late: in front of the command's first instruction, because it may forbid
 * everything else. */
enum filter_when { FILTER_EARLY, FILTER_LATE };

struct filter_walk {
    const char *at;
    size_t left; /* not 0 at the end: malformed */
};

/* The instructions of the next program of that kind and their size in bytes; false where there
 * is none. */
bool filter_next(struct filter_walk *walk, enum filter_when when, const void **ret,
                 size_t *ret_size);
