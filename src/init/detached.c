/* SPDX-License-Identifier: Apache-2.0 */
/* The stdio of a detached sandbox. Runs in isolate-init; the command's output and the clients'
 * input are hostile bytes and are only carried. Nothing here waits: a client that does not
 * listen misses the word that there is more, and finds it in the log later. */
#include "init/init.h"
#include "spec/log_ring.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>

void detached_init(struct detached *detached)
{
    *detached = (struct detached){.output_fds = {-EBADF, -EBADF}, .stdin_fd = -EBADF};
    for (size_t i = 0; i < ATTACHED_MAX; i++)
        detached->attached[i] = (struct attached){-EBADF, -EBADF};
}

static int make_pipe(int *ret_read, int *ret_write)
{
    int fds[2];
    if (pipe2(fds, O_CLOEXEC) < 0)
        return -errno;
    *ret_read = fds[0];
    *ret_write = fds[1];
    return 0;
}

static int set_nonblocking(int fd)
{
    int flags = fd < 0 ? 0 : fcntl(fd, F_GETFL);
    return fd >= 0 && (flags < 0 || fcntl(fd, F_SETFL, flags | O_NONBLOCK) < 0) ? -errno : 0;
}

static int open_pipes(struct detached *detached, bool stdin_open, int ret[static 3])
{
    int r = make_pipe(&detached->output_fds[0], &ret[1]);
    if (r == 0)
        r = make_pipe(&detached->output_fds[1], &ret[2]);
    if (r == 0 && stdin_open)
        r = make_pipe(&ret[0], &detached->stdin_fd);
    else if (r == 0 && (ret[0] = open("/dev/null", O_RDONLY | O_CLOEXEC)) < 0)
        r = -errno;
    return r;
}

int detached_open(struct detached *detached, const struct start *start, int log_fd,
                  int ret_stdio[static 3], struct error *err)
{
    int r = log_ring_map(log_fd, &detached->log);
    if (r < 0)
        return fail(err, ERROR_PROTOCOL, r, "init: log: ");
    if (start->flags & START_TTY) {
        r = init_make_pty(&detached->output_fds[0], start->uid, ret_stdio, err);
        detached->stdin_fd =
            r < 0 ? -EBADF : fcntl(detached->output_fds[0], F_DUPFD_CLOEXEC, 3);
    } else {
        r = open_pipes(detached, start->flags & START_STDIN_OPEN, ret_stdio);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "init: pipes: ");
    }
    if (r == 0 && (set_nonblocking(detached->output_fds[0]) < 0 ||
                   set_nonblocking(detached->output_fds[1]) < 0 ||
                   set_nonblocking(detached->stdin_fd) < 0))
        r = fail(err, ERROR_SYSTEM, errno, "init: pipes: ");
    return r;
}

void detached_attach(struct detached *detached, int take_control_fd, bool with_input)
{
    struct message message;
    _cleanup_close_ int control = take_control_fd;
    _cleanup_fd_list_ struct fd_list fds = {0};
    struct attached *free_slot = NULL;
    for (size_t i = 0; i < ATTACHED_MAX && !free_slot; i++)
        if (detached->attached[i].control_fd < 0)
            free_slot = &detached->attached[i];
    if (!detached->log)
        return; /* it sees the end of its socket */
    if (!free_slot) {
        struct message full = {.type = MESSAGE_FAILED, .value = ERROR_BUSY, .detail = EBUSY};
        (void)snprintf(full.text, sizeof(full.text),
                       "%d clients are attached to the sandbox already", ATTACHED_MAX);
        (void)!message_try(control, &full);
        return;
    }
    int r = message_receive(control, &message, MSG_DONTWAIT, &fds);
    free_slot->control_fd = TAKE_FD(control);
    if (r == 1 && message.type == MESSAGE_STDIO && fds.n >= 1 && with_input &&
        detached->stdin_fd >= 0 && set_nonblocking(fds.fds[0]) == 0)
        free_slot->input_fd = TAKE_FD(fds.fds[0]);
    const struct message more = {.type = MESSAGE_OUTPUT};
    (void)!message_try(free_slot->control_fd, &more);
}

/* While something is held back, its way is waited for, and no more input; where nobody reads,
 * none at all. */
size_t detached_poll(const struct detached *detached, struct pollfd *fds)
{
    bool holds = detached->n_held > 0;
    bool takes = !holds && detached->stdin_fd >= 0;
    size_t n = 0;
    for (int i = 0; i < 2; i++)
        fds[n++] = (struct pollfd){.fd = detached->output_fds[i], .events = POLLIN};
    fds[n++] = (struct pollfd){.fd = holds ? detached->stdin_fd : -1, .events = POLLOUT};
    for (size_t i = 0; i < ATTACHED_MAX; i++) {
        int input = takes ? detached->attached[i].input_fd : -1;
        fds[n++] = (struct pollfd){.fd = detached->attached[i].control_fd, .events = POLLIN};
        fds[n++] = (struct pollfd){.fd = input, .events = POLLIN};
    }
    return n;
}

/* True while there may be more. */
static bool pump_output(struct detached *detached, int which)
{
    char block[DETACHED_CHUNK];
    ssize_t n = read(detached->output_fds[which], block, sizeof(block));
    if (n > 0) {
        log_ring_write(detached->log, which == 0 ? 1 : 2, block, (size_t)n);
        return true;
    }
    if (n == 0 || (errno != EAGAIN && errno != EINTR))
        detached->output_fds[which] = fd_close(detached->output_fds[which]);
    return false;
}

static void tell_all(struct detached *detached, const struct message *message)
{
    for (size_t i = 0; i < ATTACHED_MAX; i++)
        if (detached->attached[i].control_fd >= 0)
            (void)!message_try(detached->attached[i].control_fd, message);
}

static void detach(struct attached *attached)
{
    attached->control_fd = fd_close(attached->control_fd);
    attached->input_fd = fd_close(attached->input_fd);
}

static void on_control(struct detached *detached, struct attached *attached,
                       struct addressee signal_to)
{
    struct message message;
    _cleanup_fd_list_ struct fd_list fds = {0};
    int r = message_receive(attached->control_fd, &message, MSG_DONTWAIT, &fds);
    if (r == -EAGAIN)
        return;
    if (r <= 0)
        detach(attached);
    else if (message.type == MESSAGE_SIGNAL)
        command_signal(signal_to, message.value);
    else if (message.type == MESSAGE_WINSIZE && detached->stdin_fd >= 0) {
        const struct winsize size = {.ws_row = (unsigned short)message.value,
                                     .ws_col = (unsigned short)message.detail};
        (void)ioctl(detached->stdin_fd, TIOCSWINSZ, &size);
    }
}

/* What does not fit into the command's stdin is held back, and then the clients' pipes fill. */
static void write_held(struct detached *detached)
{
    ssize_t n = write(detached->stdin_fd, detached->held, detached->n_held);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n < 0) {
        detached->stdin_fd = fd_close(detached->stdin_fd);
        detached->n_held = 0;
        return;
    }
    detached->n_held -= (size_t)n;
    memmove(detached->held, detached->held + n, detached->n_held);
}

static void on_input(struct detached *detached, struct attached *attached)
{
    ssize_t n = read(attached->input_fd, detached->held, sizeof(detached->held));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return;
    if (n <= 0) {
        attached->input_fd = fd_close(attached->input_fd);
        return;
    }
    detached->n_held = (size_t)n;
    write_held(detached);
}

void detached_serve(struct detached *detached, const struct pollfd *fds, size_t n,
                    struct addressee signal_to)
{
    bool more = false;
    if (!detached->log)
        return;
    for (int i = 0; i < 2; i++)
        if (fds[i].revents && detached->output_fds[i] >= 0)
            more = pump_output(detached, i) || more;
    const struct message message = {.type = MESSAGE_OUTPUT};
    if (more)
        tell_all(detached, &message);
    if (fds[2].revents && detached->stdin_fd >= 0)
        write_held(detached);
    for (size_t i = 3; i + 1 < n; i += 2) {
        struct attached *attached = &detached->attached[(i - 3) / 2];
        if (fds[i].revents && attached->control_fd >= 0)
            on_control(detached, attached, signal_to);
        if (fds[i + 1].revents && attached->input_fd >= 0 && detached->stdin_fd >= 0 &&
            detached->n_held == 0)
            on_input(detached, attached);
    }
}

void detached_end(struct detached *detached, const struct message *exited)
{
    if (!detached->log)
        return;
    for (int i = 0; i < 2; i++)
        while (detached->output_fds[i] >= 0 && pump_output(detached, i))
            continue;
    log_ring_finish(detached->log);
    tell_all(detached, exited);
}
