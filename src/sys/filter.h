/* SPDX-License-Identifier: Apache-2.0 */
/* The system call filter of sandboxes, compiled by libseccomp from one table (filter_table.c).
 * Two programs: an allow-list (what is not in it gets ENOSYS, or EPERM where programs know that
 * answer better) and a deny-list of argument values. Pure; allocates; no privilege.
 * Source: seccomp(2), seccomp_rule_add(3). */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#define FILTER_NO_SET_ID (1U << 0) /* refuse set-id bits in every mode argument */
/* an init's logind insists on them; where the network is the sandbox's own, they are, too */
#define FILTER_UEVENTS   (1U << 1)
#define FILTER_STRICT    (1U << 2) /* what a pure computation needs */
#define FILTER_32BIT     (1U << 3) /* i386, too, with the same answers; x86-64 only */
#define FILTER_PROFILE   (1U << 4) /* a profile of the caller's is in the allow-list's place */
#define FILTER_NESTED    (1U << 5) /* namespaces and mounts may be made */
#define FILTER_CONTAINED (1U << 6) /* of rules alone: on without FILTER_NESTED */

#define FILTER_FLAGS_MAX                                                                       \
    (FILTER_NO_SET_ID | FILTER_UEVENTS | FILTER_STRICT | FILTER_32BIT | FILTER_PROFILE |       \
     FILTER_NESTED)

/* Whether this architecture has another one of 32 bits. */
#ifdef __x86_64__
#define FILTER_HAS_32BIT true
#else
#define FILTER_HAS_32BIT false
#endif

/* The programs for these flags, compiled when isolate was built, and their length in bytes. */
const void *filter_programs(uint32_t flags, size_t *ret_length);

/* Whether these flags go together. */
static inline bool filter_has_set(uint32_t flags)
{
    uint32_t variant = flags & (FILTER_PROFILE | FILTER_STRICT | FILTER_NESTED);
    return (variant & (variant - 1)) == 0 &&
           !((flags & FILTER_NESTED) && (flags & (FILTER_NO_SET_ID | FILTER_UEVENTS)));
}

/* How many these are. */
unsigned filter_count(uint32_t flags);

/* Compiles: appends the programs, each as struct filter_program (sys/filter_walk.h) says: a
 * count of instructions (u32), a zero (u32), the instructions. */
int filter_compile(uint32_t flags, struct buffer *ret, struct error *err) _must_check_;

/* What becomes of a call. */
enum filter_answer {
    FILTER_ALLOW,
    FILTER_LOOSE,    /* refused with EPERM where the filter is strict */
    FILTER_LEGACY,   /* allowed with FILTER_32BIT, else as FILTER_ENOSYS */
    FILTER_NEST,     /* allowed with FILTER_NESTED, else as FILTER_EPERM */
    FILTER_NEST_NEW, /* the same, else as FILTER_ENOSYS */
    FILTER_EPERM,    /* known, dangerous */
    FILTER_ENOSYS,   /* as all calls that the table does not know, but on purpose */
};

/* One line of the table. */
struct filter_call {
    const char *name;
    int number; /* where libseccomp may not know the name yet; 0: it does */
    enum filter_answer answer;
};

/* The table, ended by a NULL name. */
extern const struct filter_call filter_calls[];

/* What that is with these flags: FILTER_ALLOW, FILTER_EPERM or FILTER_ENOSYS. */
enum filter_answer filter_answer(const struct filter_call *call, uint32_t flags);

/* A refused value of one 32-bit argument: masked, so that high bits cannot hide it. A mask of
 * 0: whatever its arguments are. */
struct filter_value {
    const char *call;
    unsigned argument;
    uint32_t mask;
    uint32_t value;
    uint32_t only_with; /* the FILTER_* flags that together turn the rule on; 0: always on */
    int errnum;
};

extern const struct filter_value filter_values[];
