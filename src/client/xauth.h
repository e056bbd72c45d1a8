/* SPDX-License-Identifier: Apache-2.0 */
/* Cookies of an X server, by the program xauth. Runs as the caller, with the caller's
 * XAUTHORITY; nothing is written to any file. Blocks up to 10 s. */
#pragma once

#include "base/buffer.h"
#include "base/error.h"

#include <stdbool.h>

#define XAUTH_PROTOCOL "MIT-MAGIC-COOKIE-1"
#define XAUTH_COOKIE   16 /* bytes */

struct xauth_cookie {
    unsigned char data[XAUTH_COOKIE];
};

/* A new cookie for the server at display (":0"), which forgets it timeout_seconds after nobody
 * uses it any more. 1: the server has no SECURITY extension, by which that is done. */
int xauth_generate(const char *display, bool trusted, unsigned timeout_seconds,
                   struct xauth_cookie *ret, struct error *err) _must_check_;

/* The caller's own; 1: there is none. */
int xauth_find(const char *display, struct xauth_cookie *ret, struct error *err) _must_check_;

/* The first cookie of what `xauth nlist` printed; false: there is none. Pure. */
bool xauth_parse(const char *text, struct xauth_cookie *ret);

/* What a file of XAUTHORITY says of one cookie, for display `number` on whatever host. Pure. */
void xauth_entry(const struct xauth_cookie *cookie, const char *number, struct buffer *ret);
