/* SPDX-License-Identifier: Apache-2.0 */
/* Digests as images write them: "sha256:" and 64 small hexadecimal digits, the only ones that
 * isolate knows. Pure. */
#pragma once

#include "base/error.h"

#include <nettle/sha2.h>
#include <stdbool.h>

#define DIGEST_TEXT 72 /* with its NUL */

/* Of a context that is used up by that. */
void digest_text(struct sha256_ctx *context, char ret[static DIGEST_TEXT]);

bool digest_is_valid(const char *digest);
