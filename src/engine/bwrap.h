/* SPDX-License-Identifier: Apache-2.0 */
/* What the engine bwrap executes. Pure. Source: bwrap(1), version 0.8. */
#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define BWRAP_ARGS_MAX 512
#define BWRAP_PATHS    32

struct bwrap_plan {
    uint64_t capabilities; /* that the inner init has for itself and the command */
    unsigned n_filters;
    /* in proc: what is to be hidden (it exists), and what is made read-only */
    struct {
        const char *path;
        bool is_directory;
    } hidden[BWRAP_PATHS];
    size_t n_hidden;
    const char *read_only[BWRAP_PATHS];
    size_t n_read_only;
};

/* Fills ret, NULL-terminated, with strings that are constants; how many there are. */
size_t bwrap_argv(const struct bwrap_plan *plan, const char *ret[static BWRAP_ARGS_MAX]);
