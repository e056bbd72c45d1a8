/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel answers to system calls with filters loaded. What they would let pass is
 * stopped on its way by a tracer: no call happens. x86-64 and i386. No privilege. */
#pragma once

#include "base/buffer.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define QUESTIONS_MAX 2048

/* One question to the kernel, and its answer. */
struct question {
    bool i386;
    long number;
    long arguments[6];
    long answer; /* -errno of the filter, or ALLOWED */
};
#define ALLOWED 1

struct questions {
    size_t n;
    struct question list[QUESTIONS_MAX];
};

/* None yet, in memory that the process which asks shares. */
struct questions *questions_new(void);
void questions_free(struct questions *questions);

/* Fills in the answers, with the programs of such a block loaded as sys/filter_walk.h says.
 * Fails the test where it cannot. */
void filter_ask_programs(const struct buffer *programs, struct questions *questions);

/* With those of a set of flags, FILTER_*. */
void filter_ask(uint32_t flags, struct questions *questions);
