/* SPDX-License-Identifier: Apache-2.0 */
/* What libseccomp has compiled, as bytes. For the tools that run while isolate is built, and
 * for isolate-ctl. Allocates; no privilege. Source: seccomp_export_bpf(3). */
#pragma once

#include "base/buffer.h"

#include <seccomp.h>

/* Appends the instructions (struct sock_filter, 8 bytes each). 0 or -errno. */
int filter_export(scmp_filter_ctx filter, struct buffer *ret) _must_check_;

/* The same behind a header, as sys/filter_walk.h says: a program that is loaded early. */
int filter_export_program(scmp_filter_ctx filter, struct buffer *ret) _must_check_;

/* Appends such a program of our own: calls of i386 by number, ENOSYS. For those that libseccomp
 * does not know. */
#define FILTER_NUMBERS_MAX 64
int filter_refuse_i386(const uint32_t *numbers, size_t n, struct buffer *ret) _must_check_;
