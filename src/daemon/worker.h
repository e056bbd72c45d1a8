/* SPDX-License-Identifier: Apache-2.0 */
/* Image workers, see worker.c. */
#pragma once

#include "base/error.h"

#include <stdint.h>

struct daemon;
struct session;

/* worker.c: isolate-image in namespaces and a cgroup of its own; done is called with 0 or
 * -errno and what it said. output: what it wrote to stdout. */
typedef void (*worker_done)(void *data, int result, const char *output, struct error *err);
#define WORKER_FDS       4
#define WORKER_ARGUMENTS 12
struct worker_request {
    const char *argv[WORKER_ARGUMENTS]; /* NULL-terminated, without the program; "@0" names
                                           fds[0], "@1"… */
    int fds[WORKER_FDS];                /* borrowed; 0 or -EBADF: none, nor behind it */
    int stderr_fd;                      /* where progress goes; -EBADF: nowhere */
    const struct session *session;      /* who asked; it is killed when they go */
    worker_done done;
    void *data;
};
int worker_start(struct daemon *daemon, const struct worker_request *request,
                 struct error *err) _must_check_;
/* Their client is gone: kills them; `done` is called as always. */
void worker_abandon(struct daemon *daemon, const struct session *session);
