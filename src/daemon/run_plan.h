/* SPDX-License-Identifier: Apache-2.0 */
/* From a request to a start, with the mounts of its binds. Runs in isolated as root; the
 * request is the caller's. */
#pragma once

#include "daemon/daemon.h"

/* run_plan.c: works out a start from a request. */
struct run_plan {
    struct start start;
    struct fd_list mounts; /* one per bind */
    uint32_t filter_flags;
    json_t *provided;
    char hostname[72];
    char owner_name[64];
    struct provided_file files[START_FILES];
    char masked[512]; /* see run_plan_mask_state */
};
void run_plan_clear(struct run_plan *plan);
/* Whose files the binds' files are: the peer, or request->owner, which only root may name. */
int run_owner(const struct run_request *request, const struct peer *peer, struct peer *ret,
              char *ret_name, size_t size, struct error *err) _must_check_;
/* hostname: where the request names none. uid and gid are those inside the sandbox. */
int run_plan_make(const struct run_request *request, const char *hostname, uint32_t uid,
                  uint32_t gid, struct run_plan *ret, struct error *err) _must_check_;
/* What is known of a start before it is asked for: the files that the host provides. */
int run_plan_prepare(const char *hostname, struct run_plan *ret) _must_check_;
/* Where the root is a directory of the machine that contains isolate's own state, an empty
 * tmpfs hides that from the sandbox. */
int run_plan_mask_state(struct run_plan *plan, const char *root, int state_fd,
                        struct error *err) _must_check_;
/* binds.c: opens the binds' mounts into plan->mounts. */
int run_plan_binds(struct run_plan *plan, const struct run_request *request,
                   const struct peer *owner, uint32_t first_id, const struct fd_list *fds,
                   struct error *err) _must_check_;
