/* SPDX-License-Identifier: Apache-2.0 */
/* init/detached.c: clients that attach to a sandbox without one of its own, say what they like
 * on their control sockets, with fds, and go; and a command that writes, reads or does not. */
#include "target.h"

#include "init/init.h"
#include "spec/log_ring.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/socket.h>

#define CLIENTS 4
#define ACTS    48

const bool target_needs_walls = false;

struct stage {
    struct detached detached;
    int command[3]; /* the other ends */
    int clients[CLIENTS];
    struct input input;
};

/* Nobody is there to get one. */
void command_signal(struct addressee command, int signal_number)
{
    MUST(command.pid == 1);
    (void)signal_number;
}

/* Its own, so that each input finds it empty. */
static int open_log(void)
{
    (void)unlinkat(target_directory_fd(), "log", 0);
    int fd = log_ring_make(target_directory_fd(), "log");
    MUST(fd >= 0);
    return fd;
}

static void begin(struct stage *stage)
{
    const struct start start = {.flags = input_byte(&stage->input) & 1 ? START_STDIN_OPEN : 0};
    struct error err = {0};
    _cleanup_close_ int log = open_log();
    detached_init(&stage->detached);
    for (size_t i = 0; i < CLIENTS; i++)
        stage->clients[i] = -EBADF;
    MUST(detached_open(&stage->detached, &start, log, stage->command, &err) == 0);
    (void)fcntl(stage->command[0], F_SETFL, O_NONBLOCK);
}

static void send_message(struct stage *stage, int to)
{
    struct message message = {.version = MESSAGE_VERSION};
    size_t length = 0;
    int fds[] = {stage->command[0], target_directory_fd(), to};
    size_t n = input_byte(&stage->input) % (ELEMENTS(fds) + 1);
    message.type = input_byte(&stage->input) % 8;
    const uint8_t *bytes = input_bytes(&stage->input, 12, &length);
    if (length > 0)
        memcpy(&message.value, bytes, length);
    size_t size = input_byte(&stage->input) < 240 ? sizeof(message) : length + 1;
    (void)!socket_send_flags(to, &message, size, fds, n, MSG_DONTWAIT);
}

static void attach(struct stage *stage, int *client)
{
    int pair[2];
    int ends[2] = {-EBADF, -EBADF};
    if (*client >= 0 || socket_pair(SOCK_SEQPACKET, pair) < 0)
        return;
    *client = pair[0];
    if (input_byte(&stage->input) & 1) {
        const struct message stdio = {.version = MESSAGE_VERSION, .type = MESSAGE_STDIO};
        size_t length = 0;
        const uint8_t *bytes = input_bytes(&stage->input, 16, &length);
        MUST(pipe2(ends, O_CLOEXEC) == 0 && fd_write_all(ends[1], bytes, length) == 0);
        (void)!socket_send(*client, &stdio, sizeof(stdio), ends, 1);
    } else {
        send_message(stage, *client);
    }
    fd_close(ends[0]);
    fd_close(ends[1]);
    detached_attach(&stage->detached, pair[1], input_byte(&stage->input) & 1);
}

static void serve(struct stage *stage)
{
    struct pollfd fds[DETACHED_POLL_MAX];
    size_t n = detached_poll(&stage->detached, fds);
    MUST(n <= DETACHED_POLL_MAX);
    if (poll(fds, (nfds_t)n, 0) > 0)
        detached_serve(&stage->detached, fds, n, (struct addressee){.pid = 1});
}

static void act(struct stage *stage)
{
    char block[4096];
    size_t length = 0;
    int *client = &stage->clients[input_below(&stage->input, CLIENTS)];
    switch (input_byte(&stage->input) % 6) {
    case 0:
        attach(stage, client);
        break;
    case 1:
        if (*client >= 0)
            send_message(stage, *client);
        break;
    case 2:
        *client = fd_close(*client);
        break;
    case 3: /* the command writes */
        if (stage->command[1] >= 0) {
            const uint8_t *bytes =
                input_bytes(&stage->input, input_byte(&stage->input), &length);
            (void)!write(stage->command[1], bytes, length);
        }
        break;
    case 4: /* reads, or ends its input */
        if (input_byte(&stage->input) & 3)
            (void)!read(stage->command[0], block, sizeof(block));
        else
            stage->command[0] = fd_close(stage->command[0]);
        break;
    default:
        stage->command[2] = fd_close(stage->command[2]);
    }
    serve(stage);
}

static void end(struct stage *stage)
{
    struct detached *detached = &stage->detached;
    const struct message exited = {.type = MESSAGE_EXITED, .value = EXIT_KIND_EXITED};
    detached_end(detached, &exited);
    for (size_t i = 0; i < CLIENTS; i++)
        fd_close(stage->clients[i]);
    for (int i = 0; i < 8; i++)
        serve(stage); /* each sees the end of its client */
    for (size_t i = 0; i < ATTACHED_MAX; i++)
        MUST(detached->attached[i].control_fd < 0);
    for (size_t i = 0; i < ATTACHED_MAX; i++)
        fd_close(detached->attached[i].input_fd);
    for (int i = 0; i < 3; i++)
        fd_close(stage->command[i]);
    fd_close(detached->output_fds[0]);
    fd_close(detached->output_fds[1]);
    fd_close(detached->stdin_fd);
    /* the mapping stays until init ends */
    (void)munmap(detached->log, sizeof(uint64_t) * 3 + LOG_RING_BYTES);
}

void target_run(const uint8_t *data, size_t size)
{
    static struct stage stage;
    size_t before = target_count_fds();
    stage = (struct stage){.input = {data, size}};
    begin(&stage);
    for (int i = 0; i < ACTS && stage.input.left > 0; i++)
        act(&stage);
    end(&stage);
    MUST(target_count_fds() == before);
}
