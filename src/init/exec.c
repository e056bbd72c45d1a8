/* SPDX-License-Identifier: Apache-2.0 */
/* One more command in a running sandbox, with the filter and at most the capabilities of the
 * first. Runs in isolate-init; the start comes from isolated, everything else is hostile. */
#include "init/engine.h"
#include "init/init.h"
#include "sys/fd.h"

#include <stdlib.h>

static int resolve(const struct running *running, struct start *start, struct error *err)
{
    if (start->flags & START_SAME_USER) {
        start->uid = running->uid;
        start->gid = running->gid;
    } else if (start->flags & START_USER_TEXT) {
        int r = account_resolve(start->user, &start->uid, &start->gid, err);
        if (r < 0)
            return r;
    }
    start->capabilities &= running->capabilities;
    start->flags |= running->scoped;
    start->ulimits = running->ulimits;
    if (!*start->workdir && running->workdir)
        start->workdir = running->workdir;
    return 0;
}

static pid_t run(struct running *running, uint32_t *ret_order, struct start *start,
                 int control_fd, struct error *err)
{
    int stdio[3] = {-EBADF, -EBADF, -EBADF};
    _cleanup_(account_clear) struct account account = {0};
    pid_t pid = resolve(running, start, err);
    if (pid == 0)
        pid = account_by_uid(start->uid, &account, err);
    if (pid == 0)
        pid = init_receive_stdio(control_fd, stdio, err);
    if (pid == 0 && (start->flags & START_TTY))
        pid = init_give_pty(control_fd, start->uid, stdio, err);
    const struct command command = {.start = start,
                                    .account = &account,
                                    .stdio = stdio,
                                    .filter_fd = running->filter_fd,
                                    .patience_ms = EXEC_PATIENCE_MS};
    if (pid == 0)
        pid = running->engine.pid > 0 ? engine_exec(&running->engine, &command, ret_order, err)
                                      : init_run_command(&command, err);
    for (int i = 0; i < 3; i++)
        fd_close(stdio[i]);
    return pid;
}

pid_t init_exec(struct running *running, uint32_t *ret_order, const struct fd_list *fds,
                struct error *err)
{
    _cleanup_mapping_ struct mapping spec = {0};
    _cleanup_(start_clear) struct start start = {0};
    *ret_order = 0;
    if (fds->n != 2)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: EXEC without its fds");
    int r = memfd_map(fds->fds[0], START_MAX, &spec.data, &spec.length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "init: exec: ");
    r = start_decode(spec.data, spec.length, &start, err);
    return r < 0 ? r : run(running, ret_order, &start, fds->fds[1], err);
}
