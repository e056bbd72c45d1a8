/* SPDX-License-Identifier: Apache-2.0 */
/* What a run gets of the caller's display and sound, beside the sockets, which are binds: a
 * directory of the command's user alone, and files with secrets in it. The sender is untrusted:
 * every value is checked here. Pure; allocates. */
#pragma once

#include "base/error.h"
#include "spec/display_path.h"

#include <jansson.h>
#include <stdint.h>

struct display_file {
    char *name; /* in the directory */
    char *hex;  /* two lower-case digits a byte */
};

struct run_display {
    char *directory; /* NULL: none of it is asked for */
    struct display_file files[DISPLAY_FILES];
    uint32_t n_files;
};

/* {kinds: ["x11"|"x11-trusted"|"wayland"|"audio"], directory, files: [{name, hex}]}. kinds is
 * for people, and for the next start of a kept sandbox. */
int run_display_decode(const json_t *value, struct run_display *ret,
                       struct error *err) _must_check_;

void run_display_clear(struct run_display *display);

/* A copy of a request's parameters that may be written down and shown: without the files. A new
 * reference, NULL where memory ran out. */
json_t *run_display_without_secrets(json_t *parameters);
