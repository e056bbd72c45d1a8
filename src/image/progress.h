/* SPDX-License-Identifier: Apache-2.0 */
/* One line on a terminal that says what is going on. The counters live in memory shared with
 * forked children: a child counts, its parent draws. No privilege; draws at most 5 times a
 * second, never blocks longer than a terminal does. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct progress_counters {
    uint64_t entries;
    uint64_t bytes;
    uint64_t input; /* bytes read of what is imported */
    uint64_t total; /* that there are; 0: not known */
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

/* So many bytes will have been read at the end of the phase; how many have been. Told as a part
 * and as the time that is left. progress may be NULL. */
void progress_expect(struct progress *progress, uint64_t total);
void progress_input(struct progress *progress, uint64_t bytes);

/* What the line says of those counters after so long. Pure. */
void progress_text(const char *phase, const struct progress_counters *counters,
                   uint64_t elapsed_ms, char *out, size_t size);

/* Draws when it is time to. progress may be NULL. */
void progress_tick(struct progress *progress);

/* Takes the line off the terminal, before a message and at the end. progress may be NULL. */
void progress_clear(struct progress *progress);
