/* SPDX-License-Identifier: Apache-2.0 */
/* What a request says of system calls: --seccomp and --personality. The values are the
 * caller's; the instructions of a profile are only counted here, and checked by the kernel. */
#pragma once

#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stddef.h>

#define SECCOMP_32BIT            "32bit"
#define SECCOMP_INSTRUCTION      8    /* bytes of struct sock_filter */
#define SECCOMP_INSTRUCTIONS_MAX 4096 /* BPF_MAXINSNS */

enum seccomp_kind {
    SECCOMP_DEFAULT, /* what the container engines allow by default */
    SECCOMP_STRICT,  /* what a pure computation needs, and no network */
    SECCOMP_NESTED,  /* and mounts and namespaces of the command's own */
    SECCOMP_PROFILE, /* behind those that have names: the caller's own, as the client has
                        compiled it */
};

struct run_seccomp {
    enum seccomp_kind kind;
    bool abi_32bit; /* system calls of the machine's architecture of 32 bits, too */
    char *source;   /* of a profile: its file, for messages */
    void *program;  /* and its instructions */
    size_t length;  /* in bytes */
    bool on_top;    /* it is loaded beside the default filter; else in its allow-list's place */
};

/* Takes the member "seccomp" or "personality" of a request. */
int run_seccomp_decode(const char *member, const json_t *value, struct run_seccomp *ret,
                       struct error *err) _must_check_;
void run_seccomp_clear(struct run_seccomp *seccomp);

/* As it is written; "profile". */
const char *seccomp_name(enum seccomp_kind kind);
