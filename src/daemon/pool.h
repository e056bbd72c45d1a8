/* SPDX-License-Identifier: Apache-2.0 */
/* Parked sandboxes, ready before they are asked for. See pool.c. */
#pragma once

#include "daemon/body.h"

/* Gives a parked sandbox of what the request asks for, which then is the body's: true; false
 * where none is ready, or where the request is of a kind that cannot be had ahead of time. */
bool pool_claim(struct daemon *daemon, const struct run_request *request, uid_t uid,
                struct body *ret);
/* What that would give now, borrowed; or NULL. Nothing changes, so that it may be asked in a
 * fork, too. */
const struct body *pool_would_claim(const struct daemon *daemon,
                                    const struct run_request *request, uid_t uid);
/* A body that is about to be built gets a fresh clone, where one waits for such a request. */
void pool_take_fresh(struct daemon *daemon, const struct run_request *request,
                     struct body *body);
/* Whether that would give one now. */
bool pool_has_fresh(const struct daemon *daemon, const struct run_request *request,
                    const struct body *body);
/* Takes over a fresh clone that an earlier daemon made; false where it is of no use any more.
 */
bool pool_adopt_fresh(struct daemon *daemon, struct body *body);
/* A sandbox of that kind has started: from now on some are kept ready. */
void pool_note(struct daemon *daemon, const struct run_request *request,
               const struct body *body);
/* One that was to start has not: where it was a parked one, another takes its place. */
void pool_note_failed(struct daemon *daemon, const struct run_request *request,
                      const struct body *body);
/* The configuration has changed. */
void pool_reload(struct daemon *daemon);
/* Reads which shapes an earlier daemon kept ready. */
void pool_open(struct daemon *daemon);
/* Takes all of them away. */
void pool_close(struct daemon *daemon);
/* Forgets them, at the end of the process. */
void pool_free(struct daemon *daemon);
/* Looks whether a template has changed. */
void pool_look(struct daemon *daemon);
/* One has changed since the last look. */
bool pool_is_stale(const struct daemon *daemon);
/* A template has changed: what is parked of it goes. Said to a resident daemon by whoever does
 * it, through the file system. */
void pool_templates_changed(struct daemon *daemon);

/* methods_pool.c */
int method_pool_list(struct call *call, struct error *err);
int method_pool_set(struct call *call, struct error *err);
int method_pool_refresh(struct call *call, struct error *err);
int method_pool_drain(struct call *call, struct error *err);
