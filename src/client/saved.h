/* SPDX-License-Identifier: Apache-2.0 */
/* A draft out of a request that was made before: of a kept sandbox that is started again, or of
 * a spec that was saved in a file. Run as the caller, whose rights open everything anew. */
#pragma once

#include "client/run.h"

#include <jansson.h>

/* Those members as they are, unless the draft has them: what options say counts more. names
 * live for ever. */
int run_draft_repeat(struct run_draft *draft, const json_t *request, const char *const *names,
                     size_t n) _must_check_;
/* Variables go back to where -e would have put them, in front of those: a terminal may add its
 * own to them. */
int run_draft_repeat_environment(struct run_draft *draft, const json_t *request) _must_check_;
/* The binds, each checked to have a source and a target. */
int run_draft_repeat_binds(struct run_draft *draft, const json_t *request,
                           struct error *err) _must_check_;
/* In front of those of the draft's options, of which the last of a resource counts. */
void run_draft_repeat_ulimits(struct run_draft *draft, const json_t *request);
/* --seccomp FILE, once all other options are known (draft_profile.c). */
int run_draft_profile(struct run_draft *draft, const char *path,
                      struct error *err) _must_check_;
/* The kinds of display and sound, whose servers are looked for anew. */
void run_draft_repeat_display(struct run_draft *draft, const json_t *request);

/* The spec of a request: what of it can be saved, and run later by whoever has the rights. New,
 * or NULL. */
json_t *spec_of_request(const json_t *request);
/* Reads a spec, or a whole explanation with one in it: path, or "-" for standard input. What is
 * no spec is refused with the file and the key. *ret is the caller's. */
int spec_read(const char *path, json_t **ret, struct error *err) _must_check_;
/* Makes the spec's run of the draft, whose options count more; path is for messages. */
int spec_draft(const char *path, const json_t *spec, struct run_draft *draft,
               struct error *err) _must_check_;
