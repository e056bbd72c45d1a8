/* SPDX-License-Identifier: Apache-2.0 */
/* What a template says of the commands that run in it, as the image that it was made of did: an
 * object with, as far as it says so, "entrypoint" and "cmd" (lists of strings), "env" (of
 * NAME=VALUE), "workdir" (absolute) and "user". It gives no right: whatever it asks for, a
 * caller could have asked for as well. */
#pragma once

#include "base/error.h"
#include "spec/request.h"

#include <jansson.h>

#define DEFAULTS_TEXT_MAX 60000 /* bytes of its JSON */

/* Reads it from JSON that came from an image: every member is checked for type and size, an
 * unknown one is an error. *ret is the caller's, NULL where nothing is said. ERROR_INVALID. */
int defaults_parse(const char *text, size_t length, json_t **ret,
                   struct error *err) _must_check_;

/* Fills in what the request leaves open, as `docker run` does: entrypoint and arguments, of
 * which a command takes the place of cmd; variables that it does not set; user and directory.
 * Of a request that updates the template only variables, of one that boots nothing. defaults
 * may be NULL. The result is within what run_request_decode lets pass. */
int defaults_apply(const json_t *defaults, struct run_request *request,
                   struct error *err) _must_check_;

/* The same for one more command in a sandbox, which runs as who the first one runs as:
 * variables, and the directory. */
int defaults_apply_exec(const json_t *defaults, struct run_request *request,
                        struct error *err) _must_check_;
