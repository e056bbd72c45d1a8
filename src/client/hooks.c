/* SPDX-License-Identifier: Apache-2.0 */
/* See hooks.h. Runs as the caller. What isolated says is only shown and passed on; what a hook
 * does is its caller's business, its exit status excepted. */
#include "client/hooks.h"

#include "base/log.h"
#include "base/text.h"
#include "client/hook_run.h"

#include <poll.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

/* The next message; 0: isolated is gone, -EINTR: a signal that ends has come. */
static int receive(struct hooks *hooks, const char **ret_text)
{
    struct pollfd fds[] = {
        {.fd = hooks->varlink->fd, .events = POLLIN},
        {.fd = hooks->signal_fd, .events = POLLIN},
    };
    int r = varlink_receive(hooks->varlink, false, ret_text);
    while (r == -EAGAIN) {
        struct signalfd_siginfo info;
        if (poll(fds, ELEMENTS(fds), -1) < 0 && errno != EINTR)
            return 0;
        if (fds[1].revents && read(hooks->signal_fd, &info, sizeof(info)) == sizeof(info) &&
            hook_signal_ends((int)info.ssi_signo)) {
            hooks->interrupted_by = (int)info.ssi_signo;
            return -EINTR;
        }
        r = varlink_receive(hooks->varlink, false, ret_text);
    }
    return r < 0 ? 0 : r;
}

static int call(struct hooks *hooks, const char *method, const char *id, bool more)
{
    _cleanup_buffer_ struct buffer request = {0};
    buffer_printf(&request, "{\"method\":\"io.isolate.%s\",\"parameters\":{\"id\":", method);
    buffer_append_json_string(&request, id);
    buffer_append_text(&request, more ? "},\"more\":true}" : "}}");
    return request.failed ? -ENOMEM
                          : varlink_send(hooks->varlink, request.data, request.length, NULL, 0);
}

/* Waits until all is taken away: its name is free then. */
static void release(struct hooks *hooks, const char *id)
{
    const char *ignored = NULL;
    if (call(hooks, "Release", id, false) == 0)
        (void)receive(hooks, &ignored);
}

static struct fd_list take_fds(struct varlink *varlink)
{
    struct fd_list fds = varlink->fds;
    varlink->fds.n = 0;
    return fds;
}

/* NULL or where the fd of the root is. */
static void show_root(const char *reply, const struct fd_list *fds, struct hook *hook)
{
    size_t length = 0;
    hook->view_fd = -EBADF;
    hook->root[0] = '\0';
    if (!reply)
        return;
    if (json_scan(reply, "parameters.view", &length) && fds->n == 1)
        hook->view_fd = fds->fds[0];
    else
        (void)json_scan_string(reply, "parameters.root", hook->root, sizeof(hook->root));
    (void)json_scan_string(reply, "parameters.id", hook->id, sizeof(hook->id));
    (void)json_scan_string(reply, "parameters.name", hook->name, sizeof(hook->name));
    (void)json_scan_string(reply, "parameters.template", hook->template_name,
                           sizeof(hook->template_name));
}

static void interrupted(struct hooks *hooks)
{
    /* isolated sees the end of our calls and takes everything down */
    (void)shutdown(hooks->varlink->fd, SHUT_WR);
    (void)fail(&hooks->outcome->failure, ERROR_SYSTEM, EINTR,
               "interrupted before the command started; nothing ran");
}

static void gone(struct hooks *hooks)
{
    (void)fail(&hooks->outcome->failure, ERROR_PROTOCOL, ECONNRESET,
               "isolated ended before the command started; nothing ran");
}

static bool run_before(struct hooks *hooks, struct hook *hook)
{
    char what[128];
    struct hook_end end = hook_run(hook);
    struct error *err = &hooks->outcome->failure;
    hooks->interrupted_by = end.interrupted_by;
    if (end.ok)
        return true;
    if (end.lost) {
        gone(hooks);
        return false;
    }
    hook_end_text(&end, what, sizeof(what));
    if (end.interrupted_by)
        (void)fail(err, ERROR_SYSTEM, EINTR,
                   "interrupted while the hook before the start ran; "
                   "nothing ran");
    else
        (void)fail(err, ERROR_SYSTEM, ECANCELED,
                   "the hook before the start %s; the command was not started", what);
    release(hooks, hook->id);
    return false;
}

bool hooks_before(struct hooks *hooks)
{
    const char *text = NULL;
    size_t length = 0;
    int r = receive(hooks, &text);
    if (r <= 0) {
        r < 0 ? interrupted(hooks) : gone(hooks);
        return false;
    }
    if (json_scan(text, "error", &length)) {
        run_take_failure(hooks->outcome, text);
        return false;
    }
    _cleanup_fd_list_ struct fd_list fds = take_fds(hooks->varlink);
    struct hook hook = {
        .when = "pre",
        .command = hooks->draft->pre_hook,
        .signal_fd = hooks->signal_fd,
        .peer_fd = hooks->varlink->fd,
        .mask = hooks->mask,
        .status = -1,
    };
    show_root(text, &fds, &hook);
    if (!run_before(hooks, &hook))
        return false;
    if (call(hooks, "Continue", hook.id, true) < 0) {
        gone(hooks);
        return false;
    }
    hooks->passed = true;
    return true;
}

void hooks_after(struct hooks *hooks)
{
    struct run_outcome *outcome = hooks->outcome;
    _cleanup_fd_list_ struct fd_list fds = take_fds(hooks->varlink);
    bool due = hooks->draft->pre_hook ? hooks->passed : outcome->started;
    if (!hooks->draft->post_hook || !due)
        return;
    struct hook hook = {
        .when = "post",
        .command = hooks->draft->post_hook,
        .signal_fd = hooks->signal_fd,
        .peer_fd = -EBADF,
        .mask = hooks->mask,
        .status = outcome->status,
    };
    bool held = outcome->reply && !outcome->asked_again;
    show_root(outcome->asked_again ? NULL : outcome->reply, &fds, &hook);
    if (hook.view_fd < 0 && !*hook.root)
        log_warning("the hook after the end runs without ROOTFS: the sandbox's root is gone");
    struct hook_end end = hook_run(&hook);
    if (!end.ok) {
        char what[128];
        hook_end_text(&end, what, sizeof(what));
        log_warning("the hook after the end %s; the exit status is the command's", what);
    }
    fd_list_clear(&fds);
    if (held)
        release(hooks, hook.id);
}
