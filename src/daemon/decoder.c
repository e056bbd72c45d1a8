/* SPDX-License-Identifier: Apache-2.0 */
/* isolated's side of the decoders. Runs as root and trusts a decoder as far as it speaks for
 * the callers of its uid; what it forwards is checked again where closing it could hang. A
 * decoder that breaks the protocol or does not read is killed: its callers see the end of their
 * connection, what they run goes on. */
#include "daemon/decoder.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/callers.h"
#include "daemon/child.h"
#include "daemon/daemon.h"
#include "daemon/foreign.h"
#include "daemon/sandbox.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/userns.h"
#include "varlink/decoder.h"

#include <fcntl.h>
#include <linux/sched.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define LINGER_US        (10 * 1000000ULL) /* without connections, before it goes */
#define LOOK_AGAIN_US    1000000ULL
#define PATIENCE_US      50000ULL /* of everybody, for one message */
#define PAUSE_FACTOR     4
#define LINK_BYTES       (1 << 20) /* that messages to it may take; more than 256 replies do */
#define MEMORY_MAX       (256U << 20)
#define DECODERS_MAX     1024 /* at once */
#define DECODERS_OF_ROOT 16   /* of these */
#define HUNG_MAX         8    /* of a uid's that are killed and do not end */

struct decoder {
    struct daemon *daemon;
    struct decoder *next;
    uid_t uid;       /* whose callers it serves */
    uint32_t own_id; /* what it runs as, of the decoders' range */
    pid_t pid;
    int pidfd;
    int link_fd;
    unsigned connections;
    bool is_paused; /* its calls have taken too much of everybody's time */
    bool hangs;     /* killed; what it does may keep it for ever from its end */
    sd_event_source *link_io;
    sd_event_source *pid_io;
    sd_event_source *linger;
    sd_event_source *pause;
};

struct cell {
    int empty_fd; /* its root */
    uint32_t uid;
};

/* isolated's log is not for it to write. */
static int leave_stdio(void)
{
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    for (int fd = 0; fd < 3; fd++)
        if (null_fd < 0 || dup2(null_fd, fd) < 0)
            return -errno;
    return 0;
}

/* All that a decoder gives up, in its child. */
static int enter_cell(const void *data)
{
    const struct cell *cell = data;
    const struct rlimit files = {4096, 4096};
    const struct rlimit memory = {MEMORY_MAX, MEMORY_MAX};
    const struct rlimit none = {0, 0};
    uint32_t uid = cell->uid;
    int r = leave_stdio();
    if (r < 0)
        return r;
    if (fchdir(cell->empty_fd) < 0 || chroot(".") < 0)
        return -errno;
    if (setrlimit(RLIMIT_NOFILE, &files) < 0 || setrlimit(RLIMIT_AS, &memory) < 0 ||
        setrlimit(RLIMIT_CORE, &none) < 0 || setrlimit(RLIMIT_FSIZE, &memory) < 0)
        return -errno;
    if (syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, uid, uid, uid) < 0 ||
        syscall(SYS_setresuid, uid, uid, uid) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return -errno;
    return 0;
}

static void decoder_free(struct decoder *decoder)
{
    struct decoder **at = &decoder->daemon->decoders;
    while (*at && *at != decoder)
        at = &(*at)->next;
    if (*at)
        *at = decoder->next;
    decoder->link_io = sd_event_source_unref(decoder->link_io);
    decoder->pid_io = sd_event_source_unref(decoder->pid_io);
    decoder->linger = sd_event_source_unref(decoder->linger);
    decoder->pause = sd_event_source_unref(decoder->pause);
    decoder->link_fd = fd_close(decoder->link_fd);
    decoder->pidfd = fd_close(decoder->pidfd);
    free(decoder);
}

/* Its callers have lost their connection, but are not known to be gone. */
static void end(struct decoder *decoder)
{
    session_lost_all(decoder->daemon, decoder);
    decoder->connections = 0;
    decoder->link_io = sd_event_source_unref(decoder->link_io);
    decoder->linger = sd_event_source_unref(decoder->linger);
    (void)!pidfd_signal(decoder->pidfd, SIGKILL);
    /* what it has sent and we have not read is closed with it */
    struct fd_list link = {1, {TAKE_FD(decoder->link_fd)}};
    foreign_close(decoder->uid, &link);
}

static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data);

/* Somebody traces it, root with a debugger: it is theirs to reap first, and then ours. */
static int on_traced_late(sd_event_source *source, uint64_t now_us, void *data)
{
    return on_exit_of(source, -EBADF, 0, data);
}

static int look_again(struct decoder *decoder)
{
    decoder->pid_io = sd_event_source_unref(decoder->pid_io);
    decoder->linger = sd_event_source_unref(decoder->linger);
    return sd_event_add_time_relative(decoder->daemon->event, &decoder->linger, CLOCK_MONOTONIC,
                                      LOOK_AGAIN_US, 0, on_traced_late, decoder);
}

static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct decoder *decoder = data;
    int status = 0;
    pid_t reaped = waitpid(decoder->pid, &status, WNOHANG);
    if (reaped == decoder->pid && WIFSIGNALED(status) && WTERMSIG(status) == SIGSYS)
        log_warning("decoder of uid %u: its filter ended it: it asked the kernel for what no "
                    "decoder does, so somebody had taken it over",
                    decoder->uid);
    if (decoder->link_fd >= 0)
        end(decoder);
    if (reaped == 0 && look_again(decoder) >= 0)
        return 0;
    decoder_free(decoder);
    return 0;
}

static int on_linger(sd_event_source *source, uint64_t now_us, void *data)
{
    struct decoder *decoder = data;
    if (decoder->connections == 0)
        end(decoder);
    return 0;
}

static void release(struct decoder *decoder)
{
    decoder->connections--;
    if (decoder->connections > 0 || decoder->link_fd < 0)
        return;
    /* one that hangs does not stay for all who come */
    if (decoder->uid == UID_REFUSED && decoder->linger)
        return;
    decoder->linger = sd_event_source_unref(decoder->linger);
    if (sd_event_add_time_relative(decoder->daemon->event, &decoder->linger, CLOCK_MONOTONIC,
                                   LINGER_US, 0, on_linger, decoder) < 0)
        decoder->linger = NULL;
}

static void end_for(struct decoder *decoder, const char *why, struct packet *packet)
{
    log_warning("decoder of uid %u: %s", decoder->uid, why);
    foreign_close(decoder->uid, &packet->fds);
    end(decoder);
}

/* What a method has left of a member's fds may be the last copies: the decoder keeps its own
 * until the reply, but may have died. */
static void on_call(struct decoder *decoder, struct session *session, struct packet *packet)
{
    const char *text = packet->payload.data;
    if (packet->fds.n > 0 && foreign_is_stuck(decoder->uid)) {
        end_for(decoder, "too many files of that uid do not close", packet);
    } else if (text && strlen(text) == packet->payload.length) {
        uid_t uid = decoder->uid;
        session_call(session, text, &packet->fds);
        if (uid != 0)
            foreign_close(uid, &packet->fds);
    } else {
        end_for(decoder, "a call with NULs in it", packet);
    }
}

static void on_packet(struct decoder *decoder, struct packet *packet)
{
    struct session *session = session_of(decoder->daemon, decoder, packet->id);
    if (!session || (packet->type != DECODER_CALL && packet->fds.n > 0)) {
        end_for(decoder, session ? "fds where none belong" : "unknown connection", packet);
        return;
    }
    switch (packet->type) {
    case DECODER_CALL:
        on_call(decoder, session, packet);
        return;
    case DECODER_GONE:
        session_gone(session);
        release(decoder);
        return;
    case DECODER_STREAMED:
        session_set_busy(session, false);
        return;
    default:
        end_for(decoder, "a message of an unknown kind", packet);
        return;
    }
}

/* What the one of all who are not served says is nothing that anybody wants to know, and whose
 * the files are that it might send, nobody knows: they stay in its socket. */
static int listen_to(const struct decoder *decoder, bool on)
{
    bool is_heard = on && decoder->uid != UID_REFUSED && !decoder->is_paused;
    return decoder->link_io ? sd_event_source_set_enabled(decoder->link_io,
                                                          is_heard ? SD_EVENT_ON : SD_EVENT_OFF)
                            : 0;
}

void decoder_listen_to_all(const struct daemon *daemon, bool on)
{
    for (const struct decoder *decoder = daemon->decoders; decoder; decoder = decoder->next)
        (void)!listen_to(decoder, on);
}

static int on_pause_over(sd_event_source *source, uint64_t now_us, void *data)
{
    struct decoder *decoder = data;
    decoder->is_paused = false;
    return listen_to(decoder, true);
}

/* A few megabytes of text are much to parse, and whoever sends them without end would have
 * isolated for itself: a uid gets a fifth of its time, in which others come first. */
static void pause_for(struct decoder *decoder, uint64_t spent_us)
{
    int r = 0;
    uint64_t pause_us = PAUSE_FACTOR * spent_us;
    if (spent_us < PATIENCE_US || decoder->uid == 0 || !decoder->link_io)
        return;
    if (!decoder->pause)
        r = sd_event_add_time_relative(decoder->daemon->event, &decoder->pause, CLOCK_MONOTONIC,
                                       pause_us, 1000, on_pause_over, decoder);
    else
        r = sd_event_source_set_time_relative(decoder->pause, pause_us);
    if (r >= 0)
        r = sd_event_source_set_enabled(decoder->pause, SD_EVENT_ONESHOT);
    decoder->is_paused = r >= 0;
    (void)!listen_to(decoder, true);
}

static int on_link(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct decoder *decoder = data;
    uint64_t began_us = time_cpu_us();
    _cleanup_packet_ struct packet packet = {0};
    callers_heard(decoder->daemon);
    int r = packet_receive(fd, MSG_DONTWAIT, &packet);
    if (r == -EAGAIN)
        return 0;
    /* whatever else is wrong with it */
    bool foreign = decoder->uid != 0 && foreign_refuse(decoder->uid, &packet.fds);
    if (r == 0)
        end(decoder);
    else if (r < 0 || foreign)
        end_for(decoder, "broke the protocol", &packet);
    else if (decoder->hangs) /* it is killed, and closes nothing any more */
        end_for(decoder, "is killed", &packet);
    else
        on_packet(decoder, &packet);
    pause_for(decoder, time_cpu_us() - began_us);
    return 0;
}

static bool has_id(const struct daemon *daemon, uint32_t id)
{
    const struct decoder *decoder = daemon->decoders;
    while (decoder && decoder->own_id != id)
        decoder = decoder->next;
    return decoder;
}

/* One that no decoder has, nor had lately: what is queued in callers' sockets stays charged to
 * the uid that has sent it, and too much of it would keep the next one from sending fds. */
static uint32_t choose_id(const struct daemon *daemon)
{
    static uint32_t last;
    if (last == 0) /* the last isolated's are not known */
        (void)!getrandom(&last, sizeof(last), GRND_NONBLOCK);
    do
        last++;
    while (has_id(daemon, daemon->decoder_ids + last % USERNS_RANGE));
    return daemon->decoder_ids + last % USERNS_RANGE;
}

/* Those of others leave some for root. */
static int check_number(const struct daemon *daemon, uid_t uid, struct error *err)
{
    unsigned n = 0;
    unsigned n_hung = 0;
    for (const struct decoder *decoder = daemon->decoders; decoder; decoder = decoder->next) {
        n++;
        n_hung += decoder->uid == uid && decoder->link_fd < 0;
    }
    if (uid == UID_REFUSED && n_hung >= HUNG_MAX)
        return fail(err, ERROR_BUSY, EBUSY, "somebody who is not served is not told why");
    if (uid != 0 && n_hung >= HUNG_MAX)
        return fail(err, ERROR_BUSY, EBUSY,
                    "uid %u: %u processes that have served it do not end, as where a file "
                    "system that it serves does not answer; end that server first",
                    uid, n_hung);
    if (n >= (uid == 0 ? DECODERS_MAX : DECODERS_MAX - DECODERS_OF_ROOT))
        return fail(err, ERROR_BUSY, EBUSY, "%u other users have connections already", n);
    return 0;
}

static int spawn(struct decoder *decoder, struct error *err)
{
    struct daemon *daemon = decoder->daemon;
    char *const argv[] = {(char *)"isolate-decoder", NULL};
    char *const environment[] = {NULL};
    _cleanup_close_ int empty = dir_make_at(daemon->run_fd, "empty", 0555);
    if (empty < 0)
        return fail(err, ERROR_SYSTEM, empty, "decoder: its root: ");
    const struct cell cell = {empty, decoder->own_id};
    const struct child_program program = {
        .what = "decoder",
        .argv = argv,
        .environment = environment,
        .program_fd = daemon->decoder_program_fd,
        .second_fd = -EBADF,
        .namespaces = CLONE_NEWNET | CLONE_NEWIPC | CLONE_NEWUTS,
        .enter = enter_cell,
        .data = &cell,
    };
    int r = child_start(&program, &decoder->pid, &decoder->pidfd, &decoder->link_fd, err);
    if (r < 0)
        return r;
    /* all who wait for one sandbox are told at once, and one that takes no message is ended */
    const int bytes = LINK_BYTES;
    (void)setsockopt(decoder->link_fd, SOL_SOCKET, SO_SNDBUFFORCE, &bytes, sizeof(bytes));
    r = sd_event_add_io(daemon->event, &decoder->link_io, decoder->link_fd, EPOLLIN, on_link,
                        decoder);
    if (r >= 0)
        r = sd_event_add_io(daemon->event, &decoder->pid_io, decoder->pidfd, EPOLLIN,
                            on_exit_of, decoder);
    if (r >= 0) /* what it said before it died comes first */
        r = sd_event_source_set_priority(decoder->pid_io, PRIORITY_ENDS_OF_CALLERS);
    if (r >= 0)
        r = sd_event_source_set_priority(decoder->link_io, PRIORITY_CALLERS);
    if (r >= 0)
        r = listen_to(decoder, true);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "decoder: ") : 0;
}

static int decoder_new(struct daemon *daemon, uid_t uid, struct decoder **ret,
                       struct error *err)
{
    int r = check_number(daemon, uid, err);
    if (r < 0)
        return r;
    struct decoder *decoder = calloc(1, sizeof(*decoder));
    if (!decoder)
        return fail(err, ERROR_SYSTEM, ENOMEM, "decoder: ");
    *decoder = (struct decoder){
        .daemon = daemon,
        .uid = uid,
        .own_id = choose_id(daemon),
        .pidfd = -EBADF,
        .link_fd = -EBADF,
        .next = daemon->decoders,
    };
    daemon->decoders = decoder;
    r = spawn(decoder, err);
    if (r < 0) {
        if (decoder->pidfd >= 0 && pidfd_signal(decoder->pidfd, SIGKILL) == 0)
            (void)waitpid(decoder->pid, NULL, 0);
        decoder_free(decoder);
        return r;
    }
    *ret = decoder;
    return 0;
}

static struct decoder *decoder_of(const struct daemon *daemon, uid_t uid)
{
    struct decoder *decoder = daemon->decoders;
    while (decoder && (decoder->uid != uid || decoder->link_fd < 0))
        decoder = decoder->next;
    return decoder;
}

int decoder_add(struct daemon *daemon, const struct peer *peer, int take_fd, struct error *err)
{
    _cleanup_close_ int fd = take_fd;
    struct decoder *decoder = decoder_of(daemon, peer->uid);
    struct packet packet = {.type = DECODER_ADD, .value = peer->uid == 0, .fds = {1, {fd}}};
    int r = 0;
    if (foreign_is_stuck(peer->uid))
        return fail(err, ERROR_BUSY, EBUSY,
                    "uid %u: too many files that it has sent do not close, as where a file "
                    "system that it serves does not answer; end that server first",
                    peer->uid);
    if (decoder && decoder->connections >= DECODER_CONNECTIONS)
        return fail(err, ERROR_BUSY, EBUSY, "uid %u has %u connections already", peer->uid,
                    decoder->connections);
    if (!decoder)
        r = decoder_new(daemon, peer->uid, &decoder, err);
    if (r == 0)
        r = session_relayed(daemon, decoder, peer, fd, &packet.id, err);
    if (r < 0)
        return r;
    decoder->connections++;
    decoder_send(decoder, &packet, "");
    return 0;
}

void decoder_refuse(struct daemon *daemon, const struct peer *peer, int fd, const char *text)
{
    struct error err = {0};
    struct decoder *decoder = decoder_of(daemon, peer->uid);
    const struct packet packet = {.type = DECODER_REFUSE, .fds = {1, {fd}}};
    if (!decoder)
        decoder = decoder_of(daemon, UID_REFUSED);
    if (!decoder && decoder_new(daemon, UID_REFUSED, &decoder, &err) < 0) {
        log_warning("%s", err.text);
        return;
    }
    decoder_send(decoder, &packet, text);
    decoder->connections++;
    release(decoder);
}

void decoder_send(struct decoder *decoder, const struct packet *packet, const char *text)
{
    if (decoder->link_fd < 0)
        return;
    int r = packet_send(decoder->link_fd, packet, text, strlen(text), MSG_DONTWAIT);
    if (r == 0)
        return;
    log_warning("decoder of uid %u: does not take a message: %s", decoder->uid, strerror(-r));
    decoder->hangs = true;
    /* not here: the caller is in the middle of something with one of its sessions */
    (void)!pidfd_signal(decoder->pidfd, SIGKILL);
}

bool decoder_hangs(const struct daemon *daemon, uid_t uid)
{
    const struct decoder *decoder = decoder_of(daemon, uid);
    return !decoder || decoder->hangs;
}

void decoder_close_all(struct daemon *daemon)
{
    while (daemon->decoders) {
        struct decoder *decoder = daemon->decoders;
        if (decoder->link_fd >= 0)
            end(decoder);
        if (pidfd_wait(decoder->pidfd, 100) == 1)
            (void)waitpid(decoder->pid, NULL, WNOHANG);
        daemon->decoders = decoder->next; /* plain that this comes to its end */
        decoder_free(decoder);
    }
}
