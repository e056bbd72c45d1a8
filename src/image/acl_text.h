/* SPDX-License-Identifier: Apache-2.0 */
/* A POSIX ACL as archives have it: acl(5), "short text form", ids as numbers. Pure. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

/* Appends the text of an attribute system.posix_acl_*, as the kernel stores it. */
int acl_text(const void *value, size_t length, struct buffer *ret,
             struct error *err) _must_check_;
