/* SPDX-License-Identifier: Apache-2.0 */
/* Profiles of system calls in files, in the format of the OCI runtime specification
 * (linux.seccomp) or of Docker and Podman. Compiled here, as the caller, so that isolated reads
 * no JSON of rules and links no libseccomp: what it gets is a program, which the kernel checks.
 */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <jansson.h>
#include <stdbool.h>
#include <stdint.h>

struct profile_machine {
    uint64_t capabilities; /* the command's, for rules that depend on them */
    bool abi_32bit;        /* rules for the architecture of 32 bits, too */
};

/* Appends the instructions (struct sock_filter). What the format does not have, what cannot be
 * done and what would not be enforced is an error that names it. */
int profile_compile(const json_t *profile, const struct profile_machine *machine,
                    struct buffer *ret, struct error *err) _must_check_;

/* profile_rules.c: whether an entry of "syscalls" with these includes and excludes counts. */
int profile_applies(const json_t *entry, const struct profile_machine *machine, bool *ret,
                    struct error *err) _must_check_;
/* profile_rules.c: SCMP_ACT_* with its errno; fallback: of an ERRNO without one. */
int profile_action(const json_t *holder, const char *key, const char *const errno_keys[2],
                   uint32_t *ret, struct error *err) _must_check_;
/* profile_rules.c: whether such calls happen. */
bool profile_lets_pass(uint32_t action);
/* profile_rules.c: an error for the first key of an object that is not in the list, ended by
 * NULL. */
int profile_check_keys(const json_t *object, const char *const *keys, const char *what,
                       struct error *err) _must_check_;
