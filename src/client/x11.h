/* SPDX-License-Identifier: Apache-2.0 */
/* What DISPLAY means. Pure. */
#pragma once

#include "base/error.h"

#define X11_NUMBER_MAX 59535 /* 6000 + number would be a port */

/* ":N", ":N.SCREEN", "unix:N": a server of this machine. display may be NULL: not set. */
int x11_parse(const char *display, unsigned *ret_number, unsigned *ret_screen,
              struct error *err) _must_check_;
