/* SPDX-License-Identifier: Apache-2.0 */
/* Where things of the caller's display and sound are in a sandbox: what client, isolated and
 * init agree on. */
#pragma once

#define DISPLAY_PARENT        "/run/user" /* the private directory is /run/user/NAME */
#define DISPLAY_NAME_MAX      63
#define DISPLAY_FILES         4
#define DISPLAY_FILE_MAX      1024 /* bytes of a private file */
#define DISPLAY_X11_DIRECTORY "/tmp/.X11-unix"

/* The number of the X display inside, whatever it is outside: with the host's network the
 * abstract socket of the same number would be tried first, and is shut off. */
#define DISPLAY_X11_NUMBER "7700"
