/* SPDX-License-Identifier: Apache-2.0 */
/* isolate-init, pid 1 of a sandbox: see init.h for its rights and whom it trusts. Here is its
 * life: built on BUILD, parked until START or the end of the park socket, then one command. */
#include "init/init.h"

#include "base/text.h"
#include "init/engine.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/stat.h>

struct init {
    bool built;
    bool is_rootless; /* the root is a place holder */
    uint32_t build_flags;
    int listen_fd;
    struct engine_place place; /* for a foreign engine */
    struct engine_ahead ahead; /* which waits for the command, if it is there */
    struct runner *runner;     /* waits for the command; NULL: not prepared */
    struct account account; /* of the user whom most commands run as; name NULL: not prepared */
};

static int on_build(struct init *init, const struct message *message, struct fd_list *fds,
                    struct error *err)
{
    size_t n_fds = _BUILD_FDS + !!(message->value & BUILD_HOST_NETWORK) +
                   !!(message->value & BUILD_FOREIGN);
    if (init->built || fds->n != n_fds)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: BUILD out of order");
    init->build_flags = (uint32_t)message->value;
    int r = init_build(fds->fds, init->build_flags, err);
    if (r < 0)
        return r;
    init->listen_fd = TAKE_FD(fds->fds[BUILD_FD_LISTEN]);
    if (init->build_flags & BUILD_FOREIGN) {
        r = engine_place_take(&init->place, TAKE_FD(fds->fds[n_fds - 1]), init->build_flags,
                              err);
        if (r < 0)
            return r;
    }
    init->built = true;
    init->is_rootless = init->build_flags & BUILD_ROOT_LATER;
    return message_send_simple(INIT_PARK_FD, MESSAGE_READY, 0, 0);
}

/* All of it is as init_build has made it but the root. */
static int on_root(struct init *init, const struct message *message, struct fd_list *fds,
                   struct error *err)
{
    if (!init->is_rootless || fds->n != 1)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: ROOT out of order");
    int r = init_change_root(fds->fds[0], (uint32_t)message->value, err);
    init->is_rootless = false;
    init->build_flags |= (uint32_t)message->value;
    return r;
}

/* What a start would do in the root. */
static int prepare_root(struct init *init, const struct start *start, struct error *err)
{
    int r = init_provide(start, init->build_flags & BUILD_KEEP_NODES, err);
    return r < 0 ? r : account_by_uid(start->uid, &init->account, err);
}

/* Where changes persist, files are mounted, which may still change. What makes things in the
 * root waits for it. */
static bool can_be_ahead(const struct init *init, const struct start *start)
{
    return start->engine.n_argv > 0 && !(init->build_flags & BUILD_KEEP_NODES) &&
           !(init->is_rootless && (start->engine.flags & START_ENGINE_VIEW));
}

/* Best done now: what a start does not find done, it does itself. */
static int on_prepare(struct init *init, struct fd_list *fds, struct error *err)
{
    const void *data = NULL;
    size_t length = 0;
    _cleanup_(start_clear) struct start start = {0};
    if (!init->built || init->runner || fds->n < _PREPARE_FDS)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: PREPARE out of order");
    int r = memfd_map(fds->fds[PREPARE_FD_SPEC], START_MAX, &data, &length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "init: prepare: ");
    r = start_decode(data, length, &start, err);
    if (r == 0 && sethostname(start.hostname, strlen(start.hostname)) < 0)
        r = fail(err, ERROR_SYSTEM, errno, "hostname \"%s\": ", start.hostname);
    if (r == 0 && !init->is_rootless)
        r = prepare_root(init, &start, err);
    if (r == 0 && !(init->build_flags & BUILD_FOREIGN))
        r = runner_prepare(fds->fds[PREPARE_FD_FILTER], &init->runner, err);
    else if (r == 0 && can_be_ahead(init, &start))
        r = engine_ahead_launch(&init->ahead, &start, fds, err);
    if (r == 0 && (init->build_flags & BUILD_OWN_PAGES))
        init_warm(init->account.shell);
    return r;
}

static int on_lookup(const struct message *message, struct error *err)
{
    uint32_t uid = 0;
    uint32_t gid = 0;
    int r = account_resolve(message->text, &uid, &gid, err);
    if (r < 0)
        return r;
    return message_send_simple(INIT_PARK_FD, MESSAGE_USER, (int32_t)uid, (int32_t)gid);
}

/* The command's stdio: the client's, a terminal whose master the client gets, or pipes of ours.
 */
static int take_stdio(const struct start *start, int control_fd, struct running *running,
                      int ret[static 3], struct error *err)
{
    if (start->flags & START_DETACHED)
        return detached_open(&running->detached, start, control_fd, ret, err);
    int r = init_receive_stdio(control_fd, ret, err);
    return r == 0 && (start->flags & START_TTY)
               ? init_give_pty(control_fd, start->uid, ret, err)
               : r;
}

/* Nothing has run since it was prepared: the passwd is as it was, unless an entry came in. */
static int find_account(struct init *init, const struct start *start, struct account *ret,
                        struct error *err)
{
    if (!init->account.name || init->account.uid != start->uid ||
        (start->flags & START_PASSWD_ENTRY))
        return account_by_uid(start->uid, ret, err);
    *ret = init->account;
    init->account = (struct account){0};
    return 0;
}

/* The engine that is there, or a new one. */
static pid_t run_in_engine(struct init *init, const struct command *command, int spec_fd,
                           struct running *running, struct error *err)
{
    struct engine_child *engine = &running->engine;
    int r = engine->pid > 0
                ? 0
                : engine_launch(command->start, command->filter_fd, &init->place, engine, err);
    return r < 0 ? r : engine_run(engine, command, spec_fd, err);
}

/* Everything between the arrival of the start and the command's first instruction. */
static pid_t start_command(struct init *init, const struct start *start, struct fd_list *fds,
                           struct running *running, struct error *err)
{
    int stdio[3] = {-EBADF, -EBADF, -EBADF};
    _cleanup_(account_clear) struct account account = {0};
    engine_ahead_take(&init->ahead, start, init->build_flags & BUILD_ROOT_LATER,
                      &running->engine);
    if (sethostname(start->hostname, strlen(start->hostname)) < 0)
        return fail(err, ERROR_SYSTEM, errno, "hostname \"%s\": ", start->hostname);
    int r = init_provide(start, init->build_flags & BUILD_KEEP_NODES, err);
    /* where changes persist, accounts are not ours to make */
    if (r == 0 && (start->flags & START_PASSWD_ENTRY) &&
        !(init->build_flags & BUILD_KEEP_NODES))
        r = account_ensure(start->uid, start->gid, start->user, err);
    if (r == 0)
        r = find_account(init, start, &account, err);
    if (r == 0)
        r = init_private(start, err);
    if (r == 0)
        r = init_mount_all(start, fds->fds + _START_FDS, err);
    if (r == 0 && (start->flags & START_NESTED))
        r = init_pin_proc(err);
    if (r == 0)
        r = take_stdio(start, fds->fds[START_FD_CONTROL], running, stdio, err);
    const struct command command = {
        .start = start,
        .account = &account,
        .stdio = stdio,
        .filter_fd = fds->fds[START_FD_FILTER],
        .prepared = start->flags & START_PREPARED ? init->runner : NULL,
    };
    if (init->runner && !command.prepared)
        runner_discard(init->runner);
    pid_t pid = r;
    if (r == 0 && start->engine.n_argv > 0)
        pid = run_in_engine(init, &command, fds->fds[START_FD_SPEC], running, err);
    else if (r == 0)
        pid = init_run_command(&command, err);
    if (running->command.is_init)
        running->console_fd = TAKE_FD(stdio[0]);
    for (int i = 0; i < 3; i++)
        fd_close(stdio[i]);
    return pid;
}

static void supervise(const struct init *init, const struct start *start, struct fd_list *fds,
                      struct running *running)
{
    const struct message started = {.type = MESSAGE_STARTED};
    bool detached = start->flags & START_DETACHED;
    running->control_fd = detached ? -EBADF : fds->fds[START_FD_CONTROL];
    running->filter_fd = fds->fds[START_FD_FILTER];
    running->listen_fd = init->listen_fd;
    running->timeout_ms = start->timeout_ms;
    running->ulimits = start->ulimits;
    if (start->cpu_time_ms > 0)
        cpu_clock_start(&running->cpu_clock, start, TAKE_FD(fds->fds[fds->n - 1]));
    running->capabilities = start->capabilities;
    running->uid = start->uid;
    running->gid = start->gid;
    running->scoped = start->flags & START_SCOPED;
    running->workdir = *start->workdir ? strdup(start->workdir) : NULL;
    for (size_t i = 0; i < fds->n; i++)
        if (fds->fds[i] != running->control_fd && fds->fds[i] != running->filter_fd)
            fds->fds[i] = fd_close(fds->fds[i]);
    /* a client or daemon that is gone is noticed below, by the end of its socket */
    if (running->control_fd >= 0)
        (void)!message_try(running->control_fd, &started);
    (void)!message_try(INIT_PARK_FD, &started);
    init_supervise(running);
}

static int on_start(struct init *init, struct fd_list *fds, struct error *err)
{
    const void *data = NULL;
    size_t length = 0;
    struct running running = {
        .control_fd = -EBADF,
        .console_fd = -EBADF,
        .cpu_clock = {.stat_fd = -EBADF},
        .engine = ENGINE_CHILD_NONE,
    };
    _cleanup_(start_clear) struct start start = {0};
    if (!init->built || init->is_rootless || fds->n < _START_FDS)
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: START out of order");
    int r = memfd_map(fds->fds[START_FD_SPEC], START_MAX, &data, &length);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "init: start: ");
    r = start_decode(data, length, &start, err);
    if (r < 0)
        return r;
    if (fds->n != _START_FDS + start.n_binds + (start.cpu_time_ms > 0))
        return fail(err, ERROR_PROTOCOL, EPROTO, "init: START with a wrong number of fds");
    running.signals_fd = init_watch_children();
    if (running.signals_fd < 0)
        return fail(err, ERROR_SYSTEM, running.signals_fd, "init: watch the command: ");
    detached_init(&running.detached);
    running.command.is_init = start.flags & START_BOOT;
    running.command.pid = start_command(init, &start, fds, &running, err);
    if (running.command.pid < 0)
        return running.command.pid;
    supervise(init, &start, fds, &running);
    return 0;
}

/* One message of isolated: 1 to go on, 0 when the sandbox is over, -errno. */
static int park_step(struct init *init, struct error *err)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(INIT_PARK_FD, &message, 0, &fds);
    if (r <= 0)
        return r;
    switch (message.type) {
    case MESSAGE_BUILD:
        r = on_build(init, &message, &fds, err);
        break;
    case MESSAGE_PREPARE:
        r = on_prepare(init, &fds, err);
        break;
    case MESSAGE_ROOT:
        r = on_root(init, &message, &fds, err);
        break;
    case MESSAGE_LOOKUP:
        r = on_lookup(&message, err);
        break;
    case MESSAGE_START:
        r = on_start(init, &fds, err);
        return r < 0 ? r : 0;
    default:
        r = fail(err, ERROR_PROTOCOL, EPROTO, "init: unknown message %u", message.type);
        break;
    }
    return r < 0 ? r : 1;
}

int main(int argc, char **argv)
{
    if (argc >= 2 && streq(argv[1], ENGINE_INNER_ARGUMENT))
        return inner_main(argc == 3 && streq(argv[2], ENGINE_INNER_MASKS));
    struct init init = {
        .listen_fd = -EBADF, .place = ENGINE_PLACE_NONE, .ahead = ENGINE_AHEAD_NONE};
    struct error err = {
        .code = ERROR_PROTOCOL, .errnum = EPROTO, .text = "init: lost isolated"};
    sigset_t all;
    /* it was given a fixed number by dup2, which the command must not inherit */
    if (fcntl(INIT_PARK_FD, F_SETFD, FD_CLOEXEC) < 0)
        return 1;
    (void)sigfillset(&all);
    (void)sigprocmask(SIG_BLOCK, &all, NULL);
    /* isolated ignores some, which the command must not inherit */
    for (int number = 1; number < NSIG; number++)
        (void)signal(number, SIG_DFL);
    (void)setsid();
    (void)prctl(PR_SET_NAME, "isolate-init");
    (void)umask(022);
    int r = 0;
    do
        r = park_step(&init, &err);
    while (r > 0);
    if (r < 0 && message_send_error(INIT_PARK_FD, 0, &err) < 0)
        return 1;
    return 0;
}
