/* SPDX-License-Identifier: Apache-2.0 */
/* decoder/main.c, whole: callers who send what they like with fds of every kind, read when they
 * like and go when they like, and an isolated that answers. What goes on to isolated is a
 * message in its form, from a member without an open file in it; at the end no fd is left. */
#include "target.h"

#include <poll.h>

/* the input says what happens when: nothing is waited for */
#define poll(fds, n, timeout) poll(fds, n, 0)
#define main                  decoder_main
int decoder_main(void);
/* NOLINTNEXTLINE(bugprone-suspicious-include) */
#include "decoder/main.c"
#undef main
#undef poll

#define CALLERS 4
#define ACTS    64

const bool target_needs_walls = false;

static int isolated_fd = -EBADF;

struct caller {
    int fd;
    uint32_t id;
};

struct stage {
    struct caller callers[CALLERS];
    bool trusted[ACTS + 1]; /* by id; what one who is gone has said may come later */
    uint32_t last_id;
    struct input input;
};

static void check_call(const struct stage *stage, const struct packet *packet)
{
    MUST(packet->id > 0 && packet->id <= stage->last_id);
    const char *text = packet->payload.data ? packet->payload.data : "";
    MUST(strlen(text) == packet->payload.length && text_is_utf8(text, packet->payload.length));
    MUST(json_count_values(text) <= VARLINK_VALUES_MAX);
    for (size_t i = 0; i < packet->fds.n; i++)
        MUST(stage->trusted[packet->id] || is_harmless(packet->fds.fds[i]));
}

/* What the decoder has to say to isolated. */
static void listen_to_decoder(const struct stage *stage)
{
    _cleanup_packet_ struct packet packet = {0};
    while (packet_receive(isolated_fd, MSG_DONTWAIT, &packet) == 1) {
        MUST(packet.type == DECODER_CALL || packet.type == DECODER_GONE ||
             packet.type == DECODER_STREAMED);
        if (packet.type == DECODER_CALL)
            check_call(stage, &packet);
        else
            MUST(packet.fds.n == 0);
    }
}

static void settle(const struct stage *stage)
{
    for (int i = 0; i < 6; i++) {
        step();
        listen_to_decoder(stage);
    }
}

/* Many may have come at once, and one step takes one message. */
static void settle_all(const struct stage *stage)
{
    struct pollfd link = {.fd = LINK_FD, .events = POLLIN};
    do
        settle(stage);
    while (poll(&link, 1, 0) > 0);
    settle(stage);
}

/* Some fds that go along, of a few kinds. */
static void take_some_fds(struct stage *stage, struct fd_list *list)
{
    size_t n = input_byte(&stage->input);
    n = n < 160 ? 0 : n < 250 ? n % 5 : SOCKET_FDS_MAX;
    for (size_t i = 0; i < n; i++) {
        int fd = -EBADF;
        switch (i < 4 ? input_below(&stage->input, 4) : 0) {
        case 0:
            fd = open("/", O_PATH | O_CLOEXEC);
            break;
        case 1:
            fd = open("/dev/null", O_RDONLY | O_CLOEXEC);
            break;
        case 2:
            fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
            break;
        default:
            fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
        }
        MUST(fd >= 0 && fd_list_add(list, fd) == 0);
    }
}

static void come(struct stage *stage, struct caller *caller)
{
    int pair[2];
    if (caller->fd >= 0 || socket_pair(SOCK_STREAM, pair) < 0)
        return;
    bool refused = input_byte(&stage->input) > 240;
    *caller = (struct caller){pair[0], ++stage->last_id};
    stage->trusted[caller->id] = input_byte(&stage->input) & 1;
    struct packet packet = {.type = refused ? DECODER_REFUSE : DECODER_ADD,
                            .id = caller->id,
                            .value = stage->trusted[caller->id],
                            .fds = {1, {pair[1]}}};
    MUST(packet_send(isolated_fd, &packet, "no", refused ? 2 : 0, 0) == 0);
    (void)close(pair[1]);
}

static void say(struct stage *stage, const struct caller *caller)
{
    size_t length = 0;
    _cleanup_fd_list_ struct fd_list list = {0};
    take_some_fds(stage, &list);
    size_t many = input_byte(&stage->input);
    const uint8_t *bytes = input_bytes(&stage->input, many, &length);
    if (caller->fd >= 0 && length > 0)
        (void)!socket_send_flags(caller->fd, bytes, length, list.fds, list.n, MSG_DONTWAIT);
}

static void hear(const struct caller *caller)
{
    static char block[1 << 16];
    _cleanup_fd_list_ struct fd_list list = {0};
    if (caller->fd >= 0)
        (void)!socket_receive(caller->fd, block, sizeof(block), MSG_DONTWAIT, &list);
}

static void leave(struct stage *stage, struct caller *caller)
{
    if (caller->fd >= 0 && input_byte(&stage->input) & 1)
        (void)shutdown(caller->fd, SHUT_WR);
    else
        caller->fd = fd_close(caller->fd);
}

/* isolated answers. */
static void answer(struct stage *stage, const struct caller *caller, bool streams)
{
    static const char large[1 << 17] = {[0 ...((1 << 17) - 2)] = 'x'};
    size_t length = 0;
    struct packet packet = {.type = streams ? DECODER_STREAM : DECODER_REPLY,
                            .id = caller->id,
                            .value = input_byte(&stage->input) & 1};
    size_t times = input_byte(&stage->input);
    const uint8_t *bytes = input_bytes(&stage->input, times, &length);
    int ends[2] = {-EBADF, -EBADF};
    if (streams) {
        if (pipe2(ends, O_CLOEXEC) < 0 || fd_write_all(ends[1], bytes, length) < 0)
            abort();
        if (packet.value)
            ends[1] = fd_close(ends[1]); /* else it goes on until the end */
        packet.fds = (struct fd_list){1, {ends[0]}};
    } else {
        take_some_fds(stage, &packet.fds);
    }
    bool is_large = times > 250;
    (void)!packet_send(isolated_fd, &packet, is_large ? (const void *)large : bytes,
                       is_large ? sizeof(large) - 1 : length, MSG_DONTWAIT);
    if (!streams)
        fd_list_clear(&packet.fds);
    fd_close(ends[0]);
    fd_close(ends[1]);
}

static void close_it(const struct caller *caller)
{
    const struct packet packet = {.type = DECODER_CLOSE, .id = caller->id};
    (void)!packet_send(isolated_fd, &packet, NULL, 0, MSG_DONTWAIT);
}

static void act(struct stage *stage)
{
    size_t what = input_byte(&stage->input) % 8;
    struct caller *caller = &stage->callers[input_below(&stage->input, CALLERS)];
    switch (what) {
    case 0:
        come(stage, caller);
        break;
    case 1:
    case 2:
        say(stage, caller);
        break;
    case 3:
        hear(caller);
        break;
    case 4:
        leave(stage, caller);
        break;
    case 5:
    case 6:
        answer(stage, caller, what == 5);
        break;
    default:
        close_it(caller);
    }
    if (input_byte(&stage->input) & 3) /* else more happens before it looks */
        settle(stage);
}

static void begin(void)
{
    int pair[2];
    MUST(socket_pair(SOCK_SEQPACKET, pair) == 0);
    MUST(pair[0] != LINK_FD && dup2(pair[1], LINK_FD) == LINK_FD);
    isolated_fd = pair[0];
    if (pair[1] != LINK_FD)
        (void)close(pair[1]);
}

void target_run(const uint8_t *data, size_t size)
{
    static struct stage stage;
    if (isolated_fd < 0)
        begin();
    size_t before = target_count_fds();
    stage = (struct stage){.input = {data, size}};
    for (size_t i = 0; i < CALLERS; i++)
        stage.callers[i].fd = -EBADF;
    for (int i = 0; i < ACTS && stage.input.left > 0; i++)
        act(&stage);
    for (size_t i = 0; i < CALLERS; i++)
        stage.callers[i].fd = fd_close(stage.callers[i].fd);
    settle_all(&stage);
    /* a caller whose half is closed is told of its end by isolated */
    for (size_t i = 0; i < CALLERS; i++)
        close_it(&stage.callers[i]);
    settle_all(&stage);
    MUST(target_count_fds() == before);
}
