/* SPDX-License-Identifier: Apache-2.0 */
/* What tests of requests have in common. */
#pragma once

#include "spec/request.h"

#define N_FDS 3

/* With as many fds as it names, up to N_FDS. */
int decode_json(const json_t *value, struct run_request *ret, struct error *err);
int decode(const char *text, struct run_request *ret, struct error *err);
/* A good request with one more member. */
int decode_with(const char *member, struct run_request *ret, struct error *err);
/* The error has the needle. */
void expect_refused(const char *member, const char *needle);
void expect_accepted(const char *member);
