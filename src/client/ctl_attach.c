/* SPDX-License-Identifier: Apache-2.0 */
/* The verb attach: the log of a detached sandbox as it grows, and the caller's keys to it. Runs
 * as the caller; what init says is checked, what the log holds is only printed. */
#include "base/log.h"
#include "base/text.h"
#include "client/connect.h"
#include "client/ctl.h"
#include "client/tty.h"
#include "spec/log_ring.h"
#include "spec/message.h"
#include "sys/fd.h"

#include <ctype.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define KEYS_MAX 8
#define LOOK_MS  100 /* at the latest, should a word of more have been missed */

struct attachment {
    struct varlink varlink;
    int control_fd;
    int input_fd; /* our end of its stdin; -EBADF: nothing is sent */
    int signal_fd;
    int log_fd;
    uint64_t position;
    bool tty;
    struct tty terminal;
    char keys[KEYS_MAX]; /* what detaches */
    size_t n_keys;
    size_t matched;
    bool detached;
    int status;           /* -1: it has not ended */
    struct error refused; /* by init; text "": it was not */
};

/* "ctrl-p,ctrl-q" */
static int parse_keys(const char *text, struct attachment *ret, struct error *err)
{
    for (const char *p = text; *p;) {
        size_t n = strcspn(p, ",");
        bool control =
            n == 6 && strncasecmp(p, "ctrl-", 5) == 0 && isalpha((unsigned char)p[5]);
        if (ret->n_keys == KEYS_MAX || (n != 1 && !control))
            return fail(err, ERROR_INVALID, EINVAL,
                        "--detach-keys \"%.60s\": up to %d of a letter, or ctrl- and a letter, "
                        "separated by commas",
                        text, KEYS_MAX);
        if (control)
            ret->keys[ret->n_keys++] = (char)(toupper((unsigned char)p[5]) & 31);
        else
            ret->keys[ret->n_keys++] = *p;
        p += n + (p[n] != '\0');
    }
    return 0;
}

/* What was typed without the keys that detach, whose beginning is held back until it is none.
 * ret has room for n + KEYS_MAX; the length. */
static size_t without_keys(struct attachment *attachment, const char *typed, size_t n,
                           char *ret)
{
    size_t length = 0;
    for (size_t i = 0; i < n && !attachment->detached; i++) {
        if (attachment->n_keys > 0 && typed[i] == attachment->keys[attachment->matched]) {
            attachment->detached = ++attachment->matched == attachment->n_keys;
            continue;
        }
        memcpy(ret + length, attachment->keys, attachment->matched);
        length += attachment->matched;
        attachment->matched = attachment->n_keys > 0 && typed[i] == attachment->keys[0];
        if (attachment->matched == 0)
            ret[length++] = typed[i];
    }
    return length;
}

static void on_typed(struct attachment *attachment)
{
    char typed[512];
    char sent[sizeof(typed) + KEYS_MAX];
    ssize_t n = read(STDIN_FILENO, typed, sizeof(typed));
    if (n <= 0) {
        (void)!fd_write_all(attachment->input_fd, attachment->keys, attachment->matched);
        attachment->input_fd = fd_close(attachment->input_fd);
        return;
    }
    size_t length = without_keys(attachment, typed, (size_t)n, sent);
    if (fd_write_all(attachment->input_fd, sent, length) < 0)
        attachment->input_fd = fd_close(attachment->input_fd);
}

static void send_size(const struct attachment *attachment)
{
    struct winsize size;
    if (!attachment->tty || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) < 0)
        return;
    const struct message message = {
        .type = MESSAGE_WINSIZE, .value = size.ws_row, .detail = size.ws_col};
    (void)!message_try(attachment->control_fd, &message);
}

static void on_signal(struct attachment *attachment)
{
    struct signalfd_siginfo info;
    if (read(attachment->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    const struct message message = {.type = MESSAGE_SIGNAL, .value = (int32_t)info.ssi_signo};
    if (info.ssi_signo == SIGWINCH)
        send_size(attachment);
    else
        (void)!message_try(attachment->control_fd, &message);
}

/* False when the sandbox is over. */
static bool on_control(struct attachment *attachment)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive_to_end(attachment->control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == 1 && message.type == MESSAGE_EXITED)
        attachment->status = exit_status_of(message.value, message.detail);
    if (r == 1 && message.type == MESSAGE_FAILED)
        message_to_error(&message, &attachment->refused);
    return (r == 1 && message.type == MESSAGE_OUTPUT) || r == -EAGAIN;
}

static bool step(struct attachment *attachment)
{
    struct pollfd fds[] = {
        {.fd = attachment->signal_fd, .events = POLLIN},
        {.fd = attachment->control_fd, .events = POLLIN},
        {.fd = attachment->input_fd >= 0 ? STDIN_FILENO : -1, .events = POLLIN},
    };
    if (poll(fds, ELEMENTS(fds), LOOK_MS) < 0)
        return errno == EINTR;
    if (fds[0].revents)
        on_signal(attachment);
    if (fds[2].revents)
        on_typed(attachment);
    bool goes_on = !fds[1].revents || on_control(attachment);
    (void)ctl_print_log(attachment->log_fd, &attachment->position);
    return goes_on && !attachment->detached;
}

/* Our end of its stdin stays here, the other travels on the control socket. */
static int make_input(struct attachment *attachment)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    _cleanup_close_ int theirs = fds[0];
    attachment->input_fd = fds[1];
    const struct message message = {.type = MESSAGE_STDIO};
    return message_send(attachment->control_fd, &message, &theirs, 1);
}

static int request(struct attachment *attachment, const char *name, bool with_input,
                   struct error *err)
{
    int pair[2];
    json_t *reply = NULL;
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "attach: ");
    attachment->control_fd = pair[0];
    _cleanup_close_ int theirs = pair[1];
    if (with_input && (r = make_input(attachment)) < 0)
        return fail(err, ERROR_SYSTEM, r, "attach: ");
    const struct ctl_call call = {
        .method = "Attach",
        .parameters = json_pack("{s:s, s:i}", "name", name, "control", 0),
        .fd = theirs,
    };
    r = client_connect(&attachment->varlink, err);
    if (r == 0)
        r = ctl_call(&attachment->varlink, &call, &reply, err);
    else
        json_decref(call.parameters);
    attachment->tty = json_is_true(json_object_get(reply, "tty"));
    if (r == 0 && attachment->varlink.fds.n != 1)
        r = fail(err, ERROR_PROTOCOL, EPROTO, "attach: isolated sent no log");
    if (r == 0) {
        attachment->log_fd = attachment->varlink.fds.fds[0];
        attachment->varlink.fds.n = 0;
        const char *id = json_string_value(json_object_get(reply, "id"));
        if (ctl_wait_begin(&attachment->varlink, id ? id : name) < 0)
            log_warning("attach: how the sandbox ends may not be known");
    }
    json_decref(reply);
    return r;
}

static int watch_signals(void)
{
    static const int numbers[] = {SIGINT, SIGTERM, SIGHUP, SIGQUIT, SIGUSR1, SIGUSR2, SIGWINCH};
    sigset_t set;
    (void)sigemptyset(&set);
    for (size_t i = 0; i < ELEMENTS(numbers); i++)
        (void)sigaddset(&set, numbers[i]);
    (void)signal(SIGPIPE, SIG_IGN);
    (void)sigprocmask(SIG_BLOCK, &set, NULL);
    return signalfd(-1, &set, SFD_CLOEXEC);
}

/* Killed with its init: isolated says by what, after a while where there is something to save
 * before. */
static int status_by_isolated(struct attachment *attachment)
{
    struct pollfd fds[] = {
        {.fd = attachment->varlink.fd, .events = POLLIN},
        {.fd = attachment->signal_fd, .events = POLLIN},
    };
    struct signalfd_siginfo info = {0};
    while (poll(fds, ELEMENTS(fds), -1) < 0 ||
           (!fds[0].revents && read(fds[1].fd, &info, sizeof(info)) == sizeof(info) &&
            info.ssi_signo == SIGWINCH))
        continue;
    int status = fds[0].revents ? ctl_wait_end(&attachment->varlink) : 123;
    if (status == 123)
        log_error("the sandbox ended without a word; `isolate wait` may know more");
    return status;
}

static int watch(struct attachment *attachment)
{
    attachment->signal_fd = watch_signals();
    if (attachment->tty && attachment->input_fd >= 0 &&
        tty_make_raw(&attachment->terminal, STDIN_FILENO) < 0)
        log_warning("attach: the terminal cannot be made raw");
    send_size(attachment);
    while (step(attachment))
        continue;
    tty_restore(&attachment->terminal);
    if (attachment->detached) {
        log_note("detached; the sandbox goes on");
        return 0;
    }
    if (*attachment->refused.text)
        return ctl_failed(&attachment->refused);
    if (attachment->status >= 0)
        return attachment->status;
    return status_by_isolated(attachment);
}

int ctl_attach(int argc, char **argv)
{
    struct error err = {0};
    struct attachment attachment = {.varlink = {.fd = -EBADF},
                                    .control_fd = -EBADF,
                                    .input_fd = -EBADF,
                                    .signal_fd = -EBADF,
                                    .log_fd = -EBADF,
                                    .status = -1};
    _cleanup_ctl_verb_ struct ctl_verb verb = {0};
    if (!ctl_verb_begin(&verb, "attach", argc, argv))
        return verb.status;
    int r = parse_keys(verb.options.detach_keys ? verb.options.detach_keys : "ctrl-p,ctrl-q",
                       &attachment, &err);
    if (r == 0)
        r = request(&attachment, verb.operands[0], !verb.options.no_stdin, &err);
    int status = r < 0 ? ctl_failed(&err) : watch(&attachment);
    varlink_clear(&attachment.varlink);
    fd_close(attachment.control_fd);
    fd_close(attachment.input_fd);
    fd_close(attachment.log_fd);
    fd_close(attachment.signal_fd);
    return status;
}
