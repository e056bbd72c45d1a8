/* SPDX-License-Identifier: Apache-2.0 */
/* The way to isolated: the resident daemon where there is one, else the embedded one-shot at
 * the other end of a socketpair. Runs as the caller. */
#include "client/connect.h"

#include "base/environment.h"
#include "paths.h"

#include <fcntl.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/un.h>

void client_helper_path(const char *name, char *out, size_t size)
{
    const char *directory = getenv("ISOLATE_LIBEXEC_DIR");
    (void)snprintf(out, size, "%s/%s", directory ? directory : PATH_LIBEXEC, name);
}

static int spawn_oneshot(const char *path, int fd)
{
    enum { CHILD_FD = 3 };
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all;
    pid_t pid = 0;
    char *environment[ENVIRONMENT_MAX];
    char *const argv[] = {(char *)"isolated", (char *)"--oneshot", (char *)"3", NULL};
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    environment_fixed(environ, environment);
    /* the terminal's signals are ours: it ends when we do, not with a ^C while it is loading */
    (void)posix_spawnattr_init(&attributes);
    (void)sigfillset(&all);
    (void)posix_spawnattr_setsigmask(&attributes, &all);
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSID);
    /* it must not hold our stdin and stdout: who reads them waits for their end */
    r = posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_addopen(&actions, 1, "/dev/null", O_WRONLY, 0);
    if (r == 0)
        r = posix_spawn_file_actions_adddup2(&actions, fd, CHILD_FD);
    if (r == 0)
        r = posix_spawn(&pid, path, &actions, &attributes, argv, environment);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int connect_oneshot(struct varlink *ret, struct error *err)
{
    char path[512];
    int pair[2];
    if (getuid() != 0)
        return fail(
            err, ERROR_DENIED, EPERM,
            "no isolated is running, and without it only root can make sandboxes; start "
            "it (systemctl start isolated.socket), or run this as root");
    int r = socket_pair(SOCK_STREAM, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "socket: ");
    _cleanup_close_ int ours = pair[0];
    /* out of the way of number 3, to which it is copied without CLOEXEC */
    _cleanup_close_ int theirs = fcntl(pair[1], F_DUPFD_CLOEXEC, 16);
    fd_close(pair[1]);
    client_helper_path("isolated", path, sizeof(path));
    r = theirs < 0 ? -errno : spawn_oneshot(path, theirs);
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "start %s (is isolate installed completely?): ", path);
    *ret = (struct varlink){.fd = TAKE_FD(ours)};
    return 0;
}

int client_connect_resident(struct varlink *ret, struct error *err)
{
    const char *path = getenv("ISOLATE_SOCKET");
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    path = path ? path : PATH_SOCKET;
    if (!*path)
        return 0;
    if (strlen(path) >= sizeof(address.sun_path))
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "ISOLATE_SOCKET=%s: ", path);
    memcpy(address.sun_path, path, strlen(path) + 1);
    _cleanup_close_ int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, errno, "socket: ");
    if (connect(fd, (struct sockaddr *)&address, sizeof(address)) == 0) {
        *ret = (struct varlink){.fd = TAKE_FD(fd)};
        return 1;
    }
    if (errno == ENOENT || errno == ECONNREFUSED || errno == ENOTDIR)
        return 0;
    if (errno == EACCES)
        return fail(err, ERROR_DENIED, EACCES,
                    "isolated serves root and the members of the group isolate; become one "
                    "(adduser USER isolate, then log in again), or run this as root");
    return fail(err, ERROR_SYSTEM, errno, "isolated at %s: ", path);
}

int client_connect(struct varlink *ret, struct error *err)
{
    int r = client_connect_resident(ret, err);
    if (r != 0)
        return r < 0 ? r : 0;
    /* one of its own would have another configuration, and other templates */
    const char *asked = getenv("ISOLATE_SOCKET");
    if (asked && *asked)
        return fail(err, ERROR_UNSUPPORTED, ECONNREFUSED,
                    "no isolated is running at ISOLATE_SOCKET=%s; start it, or unset that "
                    "(empty: use none)",
                    asked);
    return connect_oneshot(ret, err);
}
