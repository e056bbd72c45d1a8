/* SPDX-License-Identifier: Apache-2.0 */
/* `run --explain` for a person. */
#pragma once

#include <jansson.h>

/* Prints a plan (the interface's type Plan) to stdout, a line a fact. */
void explain_print(const json_t *plan);
