/* SPDX-License-Identifier: Apache-2.0 */
/* While the command runs: the client forwards signals and window sizes, relays the terminal,
 * and waits for the end. Runs as the caller. What init and isolated say is checked: init may be
 * in the hands of the sandbox. Without a terminal the command's stdio is the caller's own fds
 * and no byte of it passes here. */
#include "client/run.h"

#include "base/log.h"
#include "base/text.h"
#include "client/display.h"
#include "client/hooks.h"
#include "client/tty.h"
#include "spec/message.h"
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/signalfd.h>
#include <sys/socket.h>

#define CHUNK 16384

/* Bytes on their way from one fd to another. */
struct pump {
    char data[CHUNK];
    size_t begin;
    size_t end;
    bool closed; /* nothing more will come */
};

struct relay {
    struct varlink *varlink;
    int control_fd;
    int signal_fd;
    int pty;       /* -EBADF: none (yet) */
    int keeper_fd; /* keeps the X cookie alive; borrowed; -EBADF: none */
    struct tty tty;
    bool send_input;
    bool ends_line;          /* the last byte of input was a newline, or there was none */
    struct pump input;       /* stdin → pty */
    struct pump output;      /* pty → stdout */
    uint64_t drain_until_ms; /* once the sandbox is over */
    char id[128];            /* of the sandbox, once it has started; "" */
    bool lost;               /* isolated went without its last word */
    bool fast;               /* the word of init is enough */
    bool detached;           /* nothing but isolated's answer is waited for */
    bool exec;               /* of one more command isolated says nothing but its start */
    bool done;               /* isolated has said all, or is gone */
    bool gave_up; /* a signal that ends came when only our own reader was still waited for */
    sigset_t old_mask; /* what the caller had blocked */
    bool impatient;    /* a signal that ends has come: before the start, a second one aborts */
    int aborted_by;    /* that second signal */
    struct run_outcome *outcome;
};

static const int forwarded[] = {SIGINT,  SIGTERM, SIGHUP,  SIGQUIT, SIGUSR1,
                                SIGUSR2, SIGTSTP, SIGCONT, SIGWINCH};

static void on_signal(struct relay *relay)
{
    struct signalfd_siginfo info;
    if (read(relay->signal_fd, &info, sizeof(info)) != sizeof(info))
        return;
    int number = (int)info.ssi_signo;
    if (number == SIGWINCH && relay->pty >= 0) {
        tty_copy_size(relay->pty);
        return;
    }
    bool ends = number == SIGINT || number == SIGTERM || number == SIGHUP || number == SIGQUIT;
    if (ends && !relay->outcome->started && relay->impatient) {
        /* isolated sees the end of our calls, takes everything down and closes its side */
        relay->aborted_by = number;
        (void)shutdown(relay->varlink->fd, SHUT_WR);
        return;
    }
    relay->impatient = relay->impatient || ends;
    if (relay->control_fd < 0) {
        /* the sandbox is over and isolated slow to say so: the caller need not wait */
        relay->gave_up = relay->gave_up || ends;
        return;
    }
    /* before the command has started this waits in the socket until init begins to supervise */
    if (message_send_simple(relay->control_fd, MESSAGE_SIGNAL, number, 0) < 0)
        return; /* its end is seen by poll */
    if (number == SIGTSTP && relay->pty < 0)
        (void)raise(SIGSTOP);
}

static int take_pty(struct relay *relay, struct fd_list *fds)
{
    if (relay->pty >= 0 || fds->n != 1 || !tty_is_master(fds->fds[0]))
        return -EPROTO;
    relay->pty = TAKE_FD(fds->fds[0]);
    if (fcntl(relay->pty, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
        return -errno;
    tty_copy_size(relay->pty);
    return relay->send_input ? tty_make_raw(&relay->tty, 0) : 0;
}

/* Init's word cannot be had any more: it may have been, or be, that the command has started. */
static bool lose_control(struct relay *relay)
{
    relay->outcome->started = true;
    return false;
}

/* False where the control socket is over. */
static bool on_control(struct relay *relay)
{
    struct message message;
    struct run_outcome *outcome = relay->outcome;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive_to_end(relay->control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return true;
    if (r <= 0)
        return r < 0 ? lose_control(relay) : false;
    switch (message.type) {
    case MESSAGE_PTY:
        return take_pty(relay, &fds) == 0 || lose_control(relay);
    case MESSAGE_STARTED:
        outcome->started = true;
        return true;
    case MESSAGE_EXITED:
        outcome->started = true; /* init may have failed to say so */
        if (outcome->kind == 0 && message.value >= EXIT_KIND_EXITED &&
            message.value < _EXIT_KINDS) {
            outcome->kind = message.value;
            outcome->detail =
                message.detail & (message.value == EXIT_KIND_SIGNALED ? 127 : 255);
        }
        return false; /* the last that init says: others may hold its end of the socket longer
                       */
    default:
        return lose_control(relay);
    }
}

void run_take_failure(struct run_outcome *outcome, const char *text)
{
    char name[64] = "";
    struct error *err = &outcome->failure;
    (void)json_scan_string(text, "error", name, sizeof(name));
    const char *dot = strrchr(name, '.');
    err->code = error_code_from_name(dot ? dot + 1 : name);
    err->errnum = EIO;
    if (!json_scan_string(text, "parameters.message", err->text, sizeof(err->text)))
        (void)snprintf(err->text, sizeof(err->text), "isolated answered with error %.40s",
                       name);
}

static void on_varlink(struct relay *relay)
{
    const char *text = NULL;
    size_t length = 0;
    int r = varlink_receive(relay->varlink, false, &text);
    if (r == -EAGAIN)
        return;
    if (r <= 0) {
        relay->done = relay->lost = true;
        return;
    }
    if (json_scan(text, "continues", &length) &&
        *json_scan(text, "continues", &length) == 't') {
        (void)json_scan_string(text, "parameters.id", relay->id, sizeof(relay->id));
        return; /* STARTED comes from init as well, and there in order */
    }
    if (json_scan(text, "error", &length))
        run_take_failure(relay->outcome, text);
    else
        relay->outcome->reply = strdup(text);
    relay->done = true;
}

static void pump_fill(struct pump *pump, int fd)
{
    if (pump->begin != pump->end || pump->closed)
        return;
    ssize_t n = read(fd, pump->data, sizeof(pump->data));
    if (n > 0) {
        pump->begin = 0;
        pump->end = (size_t)n;
    } else if (n == 0 || (errno != EAGAIN && errno != EINTR)) {
        pump->closed = true; /* a pty's master says EIO when nobody has its slave any more */
    }
}

static void pump_drain(struct pump *pump, int fd)
{
    if (pump->begin == pump->end)
        return;
    ssize_t n = write(fd, pump->data + pump->begin, pump->end - pump->begin);
    if (n > 0)
        pump->begin += (size_t)n;
    else if (n < 0 && errno != EAGAIN && errno != EINTR)
        pump->begin = pump->end; /* the reader is gone: the rest is dropped */
}

/* The end of an input that is no terminal becomes the terminal's own sign of an end. */
static void close_input(struct relay *relay)
{
    /* in the middle of a line the first only sends what there is of it */
    relay->input.data[0] = relay->input.data[1] = 4;
    relay->input.begin = relay->ends_line ? 1 : 0;
    relay->input.end = 2;
    relay->send_input = false;
}

static void relay_terminal(struct relay *relay, const struct pollfd *in,
                           const struct pollfd *pty, const struct pollfd *out)
{
    if (in->revents) {
        pump_fill(&relay->input, in->fd);
        if (relay->input.end > relay->input.begin)
            relay->ends_line = relay->input.data[relay->input.end - 1] == '\n';
    }
    if (pty->revents & (POLLIN | POLLHUP | POLLERR))
        pump_fill(&relay->output, relay->pty);
    if (pty->revents & POLLOUT)
        pump_drain(&relay->input, relay->pty);
    if (out->revents)
        pump_drain(&relay->output, out->fd);
    if (relay->send_input && relay->input.closed && relay->input.begin == relay->input.end)
        close_input(relay);
}

/* The sandbox is over, but somebody else may have got its terminal (by SCM_RIGHTS through a
 * shared bind) and neither the caller's keys nor the caller's patience are theirs: input ends
 * at once, output is what is there. Without such a one the kernel says EIO as soon as all is
 * read. */
#define DRAIN_PAUSE_MS 200
#define DRAIN_TOTAL_MS 2000
#define HANGING_MS     2000

static void end_of_sandbox(struct relay *relay)
{
    relay->control_fd = fd_close(relay->control_fd);
    relay->send_input = false;
    relay->input.begin = relay->input.end = 0;
    relay->drain_until_ms = time_now_ms() + DRAIN_TOTAL_MS;
}

static bool terminal_drained(const struct relay *relay)
{
    return relay->pty < 0 || (relay->output.closed && relay->output.begin == relay->output.end);
}

/* Whether nothing more is to be heard of isolated. When init says how the command ended, every
 * other process of the sandbox is dead: what is left concerns only those who want a receipt, a
 * name or a directory back, or its clone. */
static bool relay_is_told(const struct relay *relay)
{
    return relay->done || (relay->fast && relay->outcome->kind != 0);
}

/* The X server tells every client of some things; nobody here wants to know. */
static void on_keeper(struct relay *relay)
{
    char scrap[4096];
    if (recv(relay->keeper_fd, scrap, sizeof(scrap), MSG_DONTWAIT) <= 0 && errno != EAGAIN)
        relay->keeper_fd = -EBADF;
}

static bool relay_step(struct relay *relay)
{
    bool pty = relay->pty >= 0;
    bool input_full = relay->input.begin != relay->input.end;
    bool output_full = relay->output.begin != relay->output.end;
    bool want_input = pty && relay->send_input && !input_full && !relay->input.closed;
    bool want_pty = pty && !output_full && !relay->output.closed;
    struct pollfd fds[] = {
        {.fd = relay->signal_fd, .events = POLLIN},
        {.fd = relay->control_fd, .events = POLLIN},
        {.fd = relay->done ? -1 : relay->varlink->fd, .events = POLLIN},
        {.fd = want_input ? 0 : -1, .events = POLLIN},
        {.fd = want_pty || (pty && input_full) ? relay->pty : -1,
         .events = (short)((want_pty ? POLLIN : 0) | (input_full ? POLLOUT : 0))},
        {.fd = output_full ? 1 : -1, .events = POLLOUT},
        {.fd = relay->keeper_fd, .events = POLLIN},
    };
    bool draining = relay->control_fd < 0 && pty && !relay->output.closed && !output_full;
    /* init has ended, or hangs in the kernel and cannot say so */
    bool over = relay->done && !relay->lost && !(relay->exec && relay->outcome->reply);
    bool hanging = over && relay->control_fd >= 0;
    int n = poll(fds, ELEMENTS(fds), draining ? DRAIN_PAUSE_MS : hanging ? HANGING_MS : -1);
    if (n < 0)
        return errno == EINTR;
    if (n == 0 && hanging)
        end_of_sandbox(relay);
    if (draining && (n == 0 || time_now_ms() > relay->drain_until_ms))
        relay->output.closed = true;
    if (fds[0].revents)
        on_signal(relay);
    if (fds[6].revents)
        on_keeper(relay);
    if (fds[1].revents && !on_control(relay))
        end_of_sandbox(relay);
    relay_terminal(relay, &fds[3], &fds[4], &fds[5]);
    if (fds[2].revents)
        on_varlink(relay);
    if (relay->gave_up)
        return false;
    return !(relay_is_told(relay) && relay->control_fd < 0 && terminal_drained(relay));
}

/* Of a sandbox whose init did not end it in time, or was killed with it, isolated says so. */
static void take_end(struct run_outcome *outcome)
{
    char kind[16] = "";
    (void)json_scan_string(outcome->reply, "parameters.exit.kind", kind, sizeof(kind));
    int told = exit_kind_named(kind);
    if (told >= EXIT_KIND_TIMEOUT)
        outcome->kind = told;
    size_t length = 0;
    const char *number = json_scan(outcome->reply, "parameters.exit.signal", &length);
    if (outcome->kind == 0 && told == EXIT_KIND_SIGNALED && number) {
        outcome->kind = told;
        outcome->detail = (int)strtol(number, NULL, 10);
    }
}

static void set_status(struct relay *relay)
{
    struct run_outcome *outcome = relay->outcome;
    if (outcome->kind != 0)
        outcome->status = exit_status_of(outcome->kind, outcome->detail);
    else if (relay->detached && outcome->reply)
        return;
    else if (outcome->started)
        (void)fail(&outcome->failure, ERROR_LOST, ECONNRESET,
                   "the sandbox ended without a word; whether the command finished is unknown");
    else if (relay->aborted_by)
        (void)fail(&outcome->failure, ERROR_SYSTEM, EINTR,
                   "interrupted before the command started; nothing ran");
    else if (outcome->failure.code == ERROR_NONE)
        (void)fail(&outcome->failure, ERROR_PROTOCOL, ECONNRESET,
                   "isolated ended before the command started; nothing ran");
    if (outcome->kind == 0)
        outcome->status = error_exit_status(outcome->failure.code);
    if (outcome->kind != 0)
        outcome->failure.code = ERROR_NONE;
}

static int block_signals(sigset_t *old)
{
    sigset_t set;
    struct sigaction inherited;
    (void)sigemptyset(&set);
    /* what the caller ignores (nohup, a background job of a script) is not the command's either
     */
    for (size_t i = 0; i < ELEMENTS(forwarded); i++)
        if (sigaction(forwarded[i], NULL, &inherited) < 0 || inherited.sa_handler != SIG_IGN)
            (void)sigaddset(&set, forwarded[i]);
    if (sigprocmask(SIG_BLOCK, &set, old) < 0)
        return -errno;
    (void)signal(SIGPIPE, SIG_IGN);
    int fd = signalfd(-1, &set, SFD_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static void finish_request(const struct run_draft *draft, size_t control, struct buffer *out)
{
    buffer_printf(out, "{\"method\":\"io.isolate.%s\",\"parameters\":{",
                  draft->exec ? "Exec" : "Run");
    run_draft_write(draft, out);
    if (!draft->detach)
        buffer_printf(out, ",\"control\":%zu", control);
    buffer_append_text(out, draft->exec ? "}}" : "},\"more\":true}");
}

/* stdio is queued on our end of the control socket first, then the other end travels with the
 * request: isolated never sees the caller's stdio. */
static int send_request(struct relay *relay, struct run_draft *draft, struct error *err)
{
    static const int stdio[3] = {0, 1, 2};
    const struct message message = {.type = MESSAGE_STDIO};
    int pair[2];
    _cleanup_buffer_ struct buffer request = {0};
    int r = draft->detach ? 0 : socket_pair(SOCK_SEQPACKET, pair);
    if (r == 0 && !draft->detach) {
        relay->control_fd = pair[0];
        r = fd_list_add(&draft->fds, pair[1]);
        if (r == 0)
            r = message_send(relay->control_fd, &message, stdio, 3);
    }
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "control socket: ");
    finish_request(draft, draft->fds.n - 1, &request);
    if (request.failed)
        return fail(err, ERROR_SYSTEM, ENOMEM, "request: ");
    r = varlink_send(relay->varlink, request.data, request.length, draft->fds.fds,
                     draft->fds.n);
    fd_list_clear(&draft->fds);
    return r == -EPIPE || r == 0 ? 0 : fail(err, ERROR_SYSTEM, r, "send the request: ");
}

void run_execute(struct varlink *varlink, struct run_draft *draft, struct run_outcome *ret)
{
    struct relay relay = {
        .varlink = varlink,
        .control_fd = -EBADF,
        .pty = -EBADF,
        .keeper_fd = draft->display ? draft->display->keeper_fd : -EBADF,
        .outcome = ret,
        .ends_line = true,
        .detached = draft->detach,
        .exec = draft->exec,
        .fast = !draft->wants_end,
        .send_input = draft->tty && (draft->interactive || isatty(0)),
    };
    struct stdio_state stdio;
    *ret = (struct run_outcome){0};
    stdio_save(&stdio);
    relay.signal_fd = block_signals(&relay.old_mask);
    int r = relay.signal_fd < 0
                ? fail(&ret->failure, ERROR_SYSTEM, relay.signal_fd, "signals: ")
                : send_request(&relay, draft, &ret->failure);
    struct hooks hooks = {
        .draft = draft,
        .varlink = varlink,
        .outcome = ret,
        .signal_fd = relay.signal_fd,
        .mask = &relay.old_mask,
    };
    if (r == 0 && draft->pre_hook && !hooks_before(&hooks))
        r = -ECANCELED;
    if (r == 0)
        while (relay_step(&relay))
            continue;
    tty_restore(&relay.tty);
    stdio_restore(&stdio);
    if (relay.lost && ret->started && *relay.id && (ret->kind == 0 || !relay.fast)) {
        ret->asked_again = true;
        run_ask_again(relay.id, ret);
    }
    if (ret->started && ret->kind == 0 && ret->reply)
        take_end(ret);
    set_status(&relay);
    if (hooks.interrupted_by)
        ret->status = 128 + hooks.interrupted_by;
    if (r == 0)
        hooks_after(&hooks);
    /* from here on signals are the program's own again: `template update` may still ask */
    if (relay.signal_fd >= 0)
        (void)sigprocmask(SIG_SETMASK, &relay.old_mask, NULL);
    (void)signal(SIGPIPE, SIG_DFL);
    relay.signal_fd = fd_close(relay.signal_fd);
    relay.control_fd = fd_close(relay.control_fd);
    relay.pty = fd_close(relay.pty);
}

void run_outcome_clear(struct run_outcome *outcome)
{
    freep(&outcome->reply);
}
