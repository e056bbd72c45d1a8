/* SPDX-License-Identifier: Apache-2.0 */
/* A foreign engine that is executed while its sandbox is parked: what it makes does not depend
 * on the command, which its inner init waits for. A start for which it would have been told
 * something else gets a new one. Runs in init. */
#include "init/engine.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/wait.h>

/* What of a start the engine is told. */
static int encode_order(const struct start *start, struct buffer *ret, struct error *err)
{
    const struct start order = {
        .hostname = "",
        .workdir = "",
        .user = "",
        .private_directory = "",
        .engine = start->engine,
    };
    return start_encode(&order, ret, err);
}

int engine_ahead_launch(struct engine_ahead *ahead, const struct start *start,
                        struct fd_list *fds, struct error *err)
{
    /* mounts are attached once: the next engine needs others */
    _cleanup_(engine_place_clear) struct engine_place place = ENGINE_PLACE_NONE;
    if (ahead->child.pid > 0 || fds->n != _PREPARE_FDS_MAX)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: PREPARE out of order");
    int r = engine_place_take(&place, TAKE_FD(fds->fds[PREPARE_FD_USR]), 0, err);
    if (r == 0)
        r = encode_order(start, &ahead->order, err);
    if (r == 0)
        r = engine_launch(start, fds->fds[PREPARE_FD_FILTER], &place, &ahead->child, err);
    return r;
}

/* Its mount namespace is a copy, in which nothing is that was mounted since. tmpfs and a
 * read-only root the inner init makes there; for what there is only one of (binds, a terminal's
 * /dev/console) it gets the root once more. */
static enum engine_late late(const struct start *start, bool new_root)
{
    return new_root || start->n_binds > 0 || (start->flags & START_TTY) ? ENGINE_LATE_ROOT
                                                                        : ENGINE_LATE_MOUNTS;
}

/* An engine that was given a view of the root has made things of its own in there. */
static bool can_be_late(const struct start *start, bool new_root)
{
    return late(start, new_root) == ENGINE_LATE_MOUNTS ||
           !(start->engine.flags & START_ENGINE_VIEW);
}

static bool fits(const struct engine_ahead *ahead, const struct start *start, bool new_root)
{
    struct error ignored;
    _cleanup_buffer_ struct buffer order = {0};
    return (start->flags & START_PREPARED) && can_be_late(start, new_root) &&
           encode_order(start, &order, &ignored) == 0 && order.length == ahead->order.length &&
           memcmp(order.data, ahead->order.data, order.length) == 0 &&
           waitpid(ahead->child.pid, NULL, WNOHANG) == 0; /* else a new one says why */
}

/* It and what it has started are all that init has. In its /run/host, which is the sandbox's
 * own and nobody else's yet, the next one may refuse what it finds. */
static void end(struct engine_child *child)
{
    child->socket_fd = fd_close(child->socket_fd);
    child->said_fd = fd_close(child->said_fd);
    (void)kill(-1, SIGKILL);
    while (waitpid(-1, NULL, 0) > 0)
        ;
    _cleanup_close_ int run_fd = dir_open_at(AT_FDCWD, "/run");
    if (run_fd >= 0)
        (void)!tree_remove(run_fd, "host");
}

void engine_ahead_take(struct engine_ahead *ahead, const struct start *start, bool new_root,
                       struct engine_child *ret)
{
    if (ahead->child.pid == 0)
        return;
    if (fits(ahead, start, new_root)) {
        *ret = ahead->child;
        ret->late = late(start, new_root);
    } else {
        end(&ahead->child);
    }
    ahead->child = (struct engine_child)ENGINE_CHILD_NONE;
    buffer_clear(&ahead->order);
}
