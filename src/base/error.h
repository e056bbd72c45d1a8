/* SPDX-License-Identifier: Apache-2.0 */
/* One error object travels through every call that can fail: a code that is part of the
 * protocol, an errno for the caller's decisions, and a sentence for a person, which says what
 * failed, on what, why and what to do. It is owned by the caller, of fixed size and never
 * allocates, so it is safe between fork and exec. */
#pragma once

#include "base/cleanup.h"

enum error_code {
    ERROR_NONE = 0,
    ERROR_SYSTEM,      /* a system call failed: see errnum */
    ERROR_INVALID,     /* the request is malformed or contradicts itself */
    ERROR_NOT_FOUND,   /* a template, sandbox, generation, source or user that is not there */
    ERROR_EXISTS,      /* the name is taken */
    ERROR_BUSY,        /* in use now; may succeed later */
    ERROR_DENIED,      /* the caller may not do this */
    ERROR_NO_SPACE,    /* disk, ids or another finite resource is used up */
    ERROR_UNSUPPORTED, /* this kernel, engine or driver cannot do it */
    ERROR_PROTOCOL,    /* the peer broke the protocol or is of another version */
    ERROR_NOT_EXECUTABLE, /* the command exists and cannot be executed: exit status 126 */
    ERROR_NO_COMMAND,     /* the command does not exist: exit status 127 */
    ERROR_LOST,           /* what came of it is unknown: exit status 123 */
    _ERROR_CODES
};

#define ERROR_TEXT_MAX 512

struct error {
    enum error_code code;
    int errnum; /* positive errno, 0 where none applies */
    char text[ERROR_TEXT_MAX];
};

/* Fills err (when it is not NULL) and returns a negative errno: -errnum, or the errno nearest
 * to code where errnum is 0. A text that ends in ": " gets the errno's own words behind it.
 * So a failing function ends in
 *     return fail(err, ERROR_SYSTEM, errno, "cgroup: mkdir %s: ", name); */
int fail(struct error *err, enum error_code code, int errnum, const char *format, ...)
    _printf_(4, 5);

#ifdef __clang_analyzer__
/* An analyzer looks at one file at a time: what is promised above, in words that it reads. */
#define fail(...)                                                                              \
    ({                                                                                         \
        int _failed = fail(__VA_ARGS__);                                                       \
        if (_failed >= 0)                                                                      \
            __builtin_unreachable();                                                           \
        _failed;                                                                               \
    })
#endif

/* Puts context in front of the text of an error that a callee has set and returns errnum
 * unchanged: `return error_prefix(err, r, "template \"%s\": ", name);` */
int error_prefix(struct error *err, int errnum, const char *format, ...) _printf_(3, 4);

/* The same behind it, for what to do: `return error_suffix(err, r, "; see %s", name);` */
int error_suffix(struct error *err, int errnum, const char *format, ...) _printf_(3, 4);

/* ENOSPC and EDQUOT are no plain system errors to a user: the code that fits errnum best. */
enum error_code error_code_of_errno(int errnum);

/* "NotFound" and back, as the varlink errors io.isolate.NotFound are named. An unknown name
 * gives ERROR_PROTOCOL. */
const char *error_code_name(enum error_code code);
enum error_code error_code_from_name(const char *name);

/* The client's exit status for an error before the command ran: 123, 125, 126 or 127. */
int error_exit_status(enum error_code code);
