/* SPDX-License-Identifier: Apache-2.0 */
/* `run --explain` for a person. */
#pragma once

#include <jansson.h>

/* Prints a plan (the interface's type Plan) to stdout, a line a fact; returns the exit status.
 */
int explain_print(const json_t *plan);
