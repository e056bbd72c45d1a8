/* SPDX-License-Identifier: Apache-2.0 */
/* Which calls fail with which error, and how a call is changed on its way. For fault.c. */
#ifndef ISOLATE_TORTURE_FAULT_H
#define ISOLATE_TORTURE_FAULT_H

#include <stdbool.h>
#include <sys/ptrace.h>
#include <sys/types.h>

struct fault_kind {
    const char *name; /* "ENOMEM" */
    int number;
    unsigned bit;
};

struct fault_call {
    long number;
    const char *name;
    unsigned kinds; /* the bits of the errors that it can have */
};

/* NULL: there is none of that name. */
const struct fault_kind *fault_find_kind(const char *name);

/* The call at whose entry a process is; NULL when it cannot fail so. */
const struct fault_call *fault_find_call(const struct __ptrace_syscall_info *info,
                                         const struct fault_kind *kind);

/* At an entry: another call in its place, another argument. At an exit: another result. */
void fault_set_call(pid_t pid, long number);
void fault_set_first_argument(pid_t pid, unsigned long value);
/* At an exit: what the argument was, where the call's result does not lie in its register. */
void fault_restore_first_argument(pid_t pid, unsigned long value);
void fault_set_result(pid_t pid, long value);

#endif
