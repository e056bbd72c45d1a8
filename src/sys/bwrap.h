/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's bubblewrap, for the engine and for who is not root: whether it is there, and
 * its arguments, which are borrowed. Source: bwrap(1), version 0.8. */
#pragma once

#include "base/error.h"

#include <stddef.h>

#define BWRAP_PROGRAM "/usr/bin/bwrap"

/* fds that it inherits, one for each program of the filter: a file of struct sock_filter. */
#define BWRAP_FILTER_FD 12

/* 0, or what to install. */
int bwrap_find(struct error *err) _must_check_;

/* A list of max places, always NULL-terminated; what does not fit is left out. */
struct bwrap_args {
    const char **items;
    size_t max;
    size_t n;
};

/* An option and its values; NULL: none. */
void bwrap_add(struct bwrap_args *args, const char *first, const char *second,
               const char *third);
void bwrap_add_filters(struct bwrap_args *args, unsigned n);
