/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal that says what is going on. The counters live in memory shared with
 * forked children: a child counts, its parent draws. No privilege; draws at most 5 times a
 * second, never blocks longer than a terminal does. */
#pragma once

#include <stdbool.h>
#include <stdint.h>

struct progress_counters {
    uint64_t entries;
    uint64_t bytes;
};

struct progress {
    bool draws;        /* this process owns the line on the terminal */
    bool drawn;        /* something is there to be cleared */
    int log_fd;        /* a child's log whose last line stands for the phase, or -EBADF */
    const char *phase; /* static text */
    uint64_t started_ms;
    uint64_t drawn_ms;
    struct progress_counters *counters; /* never NULL after progress_init */
    struct progress_counters own;       /* where shared memory is lacking */
};

/* Draws only when stderr is a terminal and ISOLATE_QUIET is not in the environment. */
void progress_init(struct progress *progress);

/* Begins a phase with counters at zero. progress may be NULL. */
void progress_begin(struct progress *progress, const char *phase);

/* Counts, and draws where this process draws. progress may be NULL. */
void progress_add(struct progress *progress, uint64_t entries, uint64_t bytes);

/* Draws when it is time to. progress may be NULL. */
void progress_tick(struct progress *progress);

/* Takes the line off the terminal, before a message and at the end. progress may be NULL. */
void progress_clear(struct progress *progress);
