/* SPDX-License-Identifier: Apache-2.0 */
/* What --seccomp may say: which system call filter the command gets. Pure. */
#pragma once

#include "base/error.h"

#include <stdbool.h>

#define SECCOMP_32BIT "32bit"

enum seccomp_kind {
    SECCOMP_DEFAULT, /* what the container engines allow by default */
    SECCOMP_STRICT,  /* what a pure computation needs, and no network */
    _SECCOMP_KINDS,
};

int seccomp_parse(const char *text, enum seccomp_kind *ret, struct error *err) _must_check_;

/* Of --personality: native, or 32bit, which adds the calls of 32-bit programs; -EOPNOTSUPP
 * where the architecture has none. */
int seccomp_parse_personality(const char *text, bool *ret_32bit,
                              struct error *err) _must_check_;

/* As it is written; NULL behind the last kind. */
const char *seccomp_name(enum seccomp_kind kind);
