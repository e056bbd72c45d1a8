/* SPDX-License-Identifier: Apache-2.0 */
/* Resource limits of processes, by the names of setrlimit(2): what --ulimit asks for, and what
 * the configuration gives to all sandboxes. Pure; the text may be hostile. */
#pragma once

#include "base/error.h"

#include <stdint.h>

#define RLIMITS_MAX       16 /* as many as Linux has */
#define RLIMIT_TEXT_MAX   80 /* bytes of one as text */
#define RLIMITS_UNLIMITED UINT64_MAX

struct rlimit_wish {
    uint32_t resource; /* RLIMIT_* */
    uint64_t soft;
    uint64_t hard;
};

/* One for each resource at most. */
struct rlimit_wishes {
    uint32_t n;
    struct rlimit_wish items[RLIMITS_MAX];
};

/* "NAME=SOFT[:HARD]", without HARD both. Numbers in the kernel's own units, and with a suffix
 * where these are bytes (64K) or time (90s); "unlimited" or -1. what names the thing in the
 * error. */
int rlimit_parse(const char *text, struct rlimit_wish *ret, const char *what,
                 struct error *err) _must_check_;

/* The same of words with spaces between them; takes the place of what ret has. */
int rlimits_parse(const char *text, struct rlimit_wishes *ret, const char *what,
                  struct error *err) _must_check_;

/* As rlimit_parse reads it. */
void rlimit_print(const struct rlimit_wish *wish, char ret[static RLIMIT_TEXT_MAX]);

/* "nofile"; "?" where it has no name. */
const char *rlimit_name(uint32_t resource);

/* Puts it in the place of another one of its resource. */
void rlimits_set(struct rlimit_wishes *wishes, const struct rlimit_wish *wish);

/* NULL: there is none of that resource. */
const struct rlimit_wish *rlimits_find(const struct rlimit_wishes *wishes, uint32_t resource);
