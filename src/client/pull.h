/* SPDX-License-Identifier: Apache-2.0 */
/* Images from registries: skopeo(1), run as the caller with the caller's environment and
 * logins, copies one into a directory of the caller's cache, from where it is imported. What
 * has been fetched whole stays there until that is done, so that the next try goes on from it.
 */
#pragma once

#include "base/error.h"

#include <limits.h>
#include <stdbool.h>

struct pull {
    char directory[PATH_MAX]; /* an OCI layout; "" : there is none */
    int lock_fd;
};

/* Fetches docker://REFERENCE; the image in the layout has the tag PULL_TAG. Its progress
 * goes to stderr. Blocks as long as that takes; a skopeo that outlives this process, which only
 * a terminal's signals end with it, keeps the lock until its own end. ERROR_NOT_FOUND where
 * there is no skopeo, ERROR_BUSY where somebody fetches it now.
 */
#define PULL_TAG "image"
int pull_image(const char *reference, bool quiet, struct pull *ret,
               struct error *err) _must_check_;

/* is_used: what was fetched whole is of no use any more, because it has been imported, or
 * cannot be. Else it stays for the next try. */
void pull_end(struct pull *pull, bool is_used);
