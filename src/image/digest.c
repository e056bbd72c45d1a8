/* SPDX-License-Identifier: Apache-2.0 */
/* Digests in images. Runs in isolate-image and its confined children; texts are hostile. */
#include "image/digest.h"

#include "base/text.h"

#include <stdio.h>
#include <string.h>

#define DIGITS "0123456789abcdef"

void digest_text(struct sha256_ctx *context, char ret[static DIGEST_TEXT])
{
    uint8_t digest[SHA256_DIGEST_SIZE];
    sha256_digest(context, sizeof(digest), digest);
    int n = snprintf(ret, DIGEST_TEXT, "sha256:");
    for (size_t i = 0; i < sizeof(digest); i++)
        n += snprintf(ret + n, 3, "%02x", digest[i]);
}

bool digest_is_valid(const char *digest)
{
    const char *hex = text_after(digest, "sha256:");
    return hex && strlen(hex) == 64 && strspn(hex, DIGITS) == 64;
}
