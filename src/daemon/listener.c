/* SPDX-License-Identifier: Apache-2.0 */
/* The listening socket: who may connect, and the way of a new connection to its decoder. Runs
 * in isolated as root; a peer is known by what the kernel says of it, never by what it says. */
#include "daemon/listener.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/callers.h"
#include "daemon/decoder.h"
#include "daemon/foreign.h"
#include "daemon/policy.h"
#include "spec/host_accounts.h"
#include "spec/ids_owned.h"

#include <fcntl.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <systemd/sd-daemon.h>

#define ACCEPTS_AT_ONCE 16
#define REST_US         200000

static bool is_member(const struct daemon *daemon, const struct peer *peer)
{
    return peer->uid == 0 || (daemon->has_group && peer_is_in(peer, daemon->group));
}

static int whose_is_subordinate(uid_t uid, uid_t *ret, struct error *err)
{
    struct ids_owner owner;
    int r = ids_owned_subordinate(uid, &owner, err);
    if (r <= 0)
        return r;
    if (!host_user_local_id(owner.owner, ret))
        *ret = UID_REFUSED;
    return fail(err, ERROR_DENIED, EACCES,
                "uid %u is a subordinate id of %s, by /etc/subuid; connect as that user", uid,
                owner.owner);
}

/* Ids that no file tells of: systemd-nsresourced lends a user 65536 for a user namespace.
 * Root's containers are nobody else's. */
static int whose_is_namespace(uid_t uid, int fd, uid_t *ret, struct error *err)
{
    uid_t owner = uid;
    int r = peer_owner(fd, uid, &owner);
    if (r < 0) {
        *ret = foreign_is_crowded() ? UID_REFUSED : uid;
        return fail(
            err, ERROR_DENIED, r,
            "uid %u has no line in /etc/passwd (add one, or connect from a process that "
            "stays that uid), and whose it is cannot be known from the process that "
            "has connected: ",
            uid);
    }
    if (owner == uid || owner == 0)
        return 0;
    struct error ignored;
    *ret = owner;
    (void)!whose_is_subordinate(owner, ret, &ignored); /* who made it may be one, too */
    return fail(err, ERROR_DENIED, EACCES,
                "uid %u is of a user namespace of uid %u's; connect as that user", uid, owner);
}

/* Who is to answer for it, *ret, if not itself. Quotas are a user's: who has subordinate ids
 * could be 65536 users at once. Who has a line in /etc/passwd is a user, whatever else is said.
 */
static int find_user(const struct daemon *daemon, const struct peer *peer, int fd, uid_t *ret,
                     struct error *err)
{
    char name[64];
    *ret = peer->uid;
    if (peer->uid == 0 ||
        !decoder_hangs(daemon, peer->uid) || /* it has been looked at lately */
        host_user_is_local(peer->uid, name, sizeof(name)))
        return 0;
    int r = whose_is_subordinate(peer->uid, ret, err);
    return r == 0 ? whose_is_namespace(peer->uid, fd, ret, err) : r;
}

static int check_peer(const struct daemon *daemon, const struct peer *peer, int fd,
                      uid_t *ret_whose, struct error *err)
{
    int r = find_user(daemon, peer, fd, ret_whose, err);
    return is_member(daemon, peer)
               ? r
               : fail(err, ERROR_DENIED, EACCES, "uid %u is not in the group %s", peer->uid,
                      daemon->config.group);
}

/* Why it is not served. By a decoder, too: what it has sent already may hang whoever closes
 * it. */
static void turn_away(struct daemon *daemon, const struct peer *peer, int fd,
                      const struct error *err)
{
    json_t *message = session_error_message(err);
    char *text = message ? json_dumps(message, JSON_COMPACT) : NULL;
    json_decref(message);
    if (text)
        decoder_refuse(daemon, peer, fd, text);
    free(text);
}

/* Connections that isolated may be the last who has. Many of one uid's are closed at once: to
 * be refused costs whoever is next nothing. */
struct refused {
    uid_t uid;
    struct fd_list list;
};

static void refuse(struct refused *refused, uid_t uid, int take_fd)
{
    if (refused->uid != uid)
        foreign_close(refused->uid, &refused->list);
    refused->uid = uid;
    refused->list.fds[refused->list.n++] = take_fd;
}

static void welcome(struct daemon *daemon, int take_fd, struct refused *refused)
{
    struct error err = {0};
    struct peer peer = {.uid = UINT32_MAX};
    _cleanup_close_ int fd = take_fd;
    uid_t whose = UID_REFUSED;
    int unread = peer_read(fd, &peer, &err);
    int r = peer.uid == UID_REFUSED ? unread : check_peer(daemon, &peer, fd, &whose, &err);
    if (r == 0)
        r = unread;
    if (r == 0) {
        int copy = fcntl(fd, F_DUPFD_CLOEXEC, 3);
        r = copy < 0 ? fail(&err, ERROR_SYSTEM, errno, "connection: ")
                     : decoder_add(daemon, &peer, copy, &err);
    }
    if (r < 0)
        turn_away(daemon, &peer, fd, &err);
    if (r < 0 || decoder_hangs(daemon, peer.uid)) /* then we may be the last who has it */
        refuse(refused, whose, TAKE_FD(fd));
}

static int on_room(sd_event_source *source, uint64_t now_us, void *data)
{
    listener_listen(data, true);
    return 0;
}

/* Who waits would be reported again at once, as long as there is no room for an fd. */
static void rest(struct daemon *daemon, int errnum)
{
    log_warning("a connection waits: %s", strerror(errnum));
    if (sd_event_add_time_relative(daemon->event, NULL, CLOCK_MONOTONIC, REST_US, 0, on_room,
                                   daemon) >= 0)
        listener_listen(daemon, false);
}

static int on_connect(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct daemon *daemon = data;
    struct refused refused = {.uid = UID_REFUSED};
    callers_heard(daemon);
    for (int i = 0; i < ACCEPTS_AT_ONCE; i++) {
        int peer = accept4(fd, NULL, NULL, SOCK_CLOEXEC);
        if (peer < 0 && errno != EAGAIN && errno != EINTR && errno != ECONNABORTED)
            rest(daemon, errno);
        if (peer < 0)
            break;
        welcome(daemon, peer, &refused);
    }
    foreign_close(refused.uid, &refused.list);
    return 0;
}

void listener_listen(struct daemon *daemon, bool on)
{
    if (daemon->listen_io)
        (void)sd_event_source_set_enabled(daemon->listen_io, on ? SD_EVENT_ON : SD_EVENT_OFF);
}

static int make_socket(struct daemon *daemon, struct error *err)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    /* by way of the directory's fd, so that no length of its path matters */
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/io.new",
                   daemon->run_fd);
    (void)unlinkat(daemon->run_fd, "io.new", 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof(address)) < 0)
        return fail(err, ERROR_SYSTEM, errno,
                    "%s/io.isolate: ", daemon->config.runtime_directory);
    /* nobody can connect before listen(), and nobody finds it before rename() */
    gid_t group = daemon->has_group ? daemon->group : 0;
    if (fchownat(daemon->run_fd, "io.new", 0, group, AT_SYMLINK_NOFOLLOW) < 0 ||
        fchmodat(daemon->run_fd, "io.new", 0660, 0) < 0 || listen(fd, SOMAXCONN) < 0 ||
        renameat(daemon->run_fd, "io.new", daemon->run_fd, "io.isolate") < 0)
        return fail(err, ERROR_SYSTEM, errno,
                    "%s/io.isolate: ", daemon->config.runtime_directory);
    return TAKE_FD(fd);
}

static int take_socket(struct daemon *daemon, struct error *err)
{
    int n = sd_listen_fds(1);
    if (n == 0)
        return make_socket(daemon, err);
    if (n < 0 || n > 1 || sd_is_socket(SD_LISTEN_FDS_START, AF_UNIX, SOCK_STREAM, 1) <= 0)
        return fail(err, ERROR_SYSTEM, n < 0 ? n : EINVAL,
                    "the service manager gave no listening unix stream socket: ");
    if (fcntl(SD_LISTEN_FDS_START, F_SETFL, O_RDWR | O_NONBLOCK) < 0)
        return fail(err, ERROR_SYSTEM, errno, "socket: ");
    daemon->activated = true;
    return SD_LISTEN_FDS_START;
}

static void take_group(struct daemon *daemon)
{
    daemon->has_group = host_group_id(daemon->config.group, &daemon->group);
    if (!daemon->has_group)
        log_warning(
            "there is no group \"%s\": only root can connect; groupadd --system %s, then "
            "reload isolated",
            daemon->config.group, daemon->config.group);
}

void listener_reload(struct daemon *daemon)
{
    take_group(daemon);
    gid_t group = daemon->has_group ? daemon->group : 0;
    /* the service manager's socket has the group that its unit says */
    if (!daemon->activated && fchownat(daemon->run_fd, "io.isolate", 0, group, 0) < 0)
        log_warning("io.isolate: %s", strerror(errno));
}

int listener_open(struct daemon *daemon, struct error *err)
{
    take_group(daemon);
    daemon->listen_fd = take_socket(daemon, err);
    if (daemon->listen_fd < 0)
        return daemon->listen_fd;
    int r = sd_event_add_io(daemon->event, &daemon->listen_io, daemon->listen_fd, EPOLLIN,
                            on_connect, daemon);
    if (r >= 0)
        r = sd_event_source_set_priority(daemon->listen_io, PRIORITY_CALLERS);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "socket: ") : 0;
}

void listener_close(struct daemon *daemon)
{
    daemon->listen_io = sd_event_source_unref(daemon->listen_io);
    if (daemon->listen_fd >= 0 && !daemon->activated)
        (void)unlinkat(daemon->run_fd, "io.isolate", 0);
    daemon->listen_fd = fd_close(daemon->listen_fd);
}
