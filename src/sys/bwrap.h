/* SPDX-License-Identifier: Apache-2.0 */
/* The machine's bubblewrap, for the engine and for who is not root: whether it is there, and
 * its arguments, which are borrowed. Source: bwrap(1), version 0.8. */
#pragma once

#include "base/args.h"
#include "base/error.h"

#define BWRAP_PROGRAM "/usr/bin/bwrap"

/* 0, or what to install. */
int bwrap_find(struct error *err) _must_check_;

/* The filter, one inherited fd from `first` (0 to 12) on for each of its n programs: a file of
 * struct sock_filter. */
void bwrap_add_filters(struct args *args, unsigned first, unsigned n);
