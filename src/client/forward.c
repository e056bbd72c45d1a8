/* SPDX-License-Identifier: Apache-2.0 */
/* Forwards connections of a sandbox to a server of the caller's: one process that accepts, and
 * two for each connection, which do nothing but receive and send. Runs as the caller, forked
 * from the client; what comes from the sandbox is hostile, and is passed on unread. Closing an
 * fd that came along may hang: that holds up its own connection only. */
#include "client/forward.h"

#include "base/text.h"
#include "client/display.h"
#include "sys/fd.h"
#include "sys/process.h"
#include "sys/socket.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <sys/utsname.h>
#include <sys/vfs.h>
#include <sys/wait.h>
#include <unistd.h>

#define CONNECTIONS_MAX 64
#define CHUNK           65536
#define DYING_MS        1000
#define REAP_MS         1000

#ifndef XFS_SUPER_MAGIC
#define XFS_SUPER_MAGIC 0x58465342
#endif

static bool kernel_is_at_least(int major, int minor)
{
    struct utsname name;
    if (uname(&name) < 0)
        return false;
    char *end = NULL;
    long is_major = strtol(name.release, &end, 10);
    long is_minor = *end == '.' ? strtol(end + 1, NULL, 10) : 0;
    return is_major > major || (is_major == major && is_minor >= minor);
}

/* Where an id-mapped mount is sure to work; elsewhere forwarding is no mistake. */
static bool is_mappable(int fd)
{
    struct statfs fs;
    if (fstatfs(fd, &fs) < 0)
        return false;
    switch ((unsigned long)fs.f_type) {
    case TMPFS_MAGIC:
        return kernel_is_at_least(6, 3);
    case EXT4_SUPER_MAGIC:
    case BTRFS_SUPER_MAGIC:
    case XFS_SUPER_MAGIC:
        return true;
    default:
        return false;
    }
}

bool forward_is_needed(int socket_fd)
{
    struct stat st;
    if (fstat(socket_fd, &st) < 0 || (st.st_mode & S_IWOTH))
        return false;
    return st.st_uid != geteuid() || st.st_gid != getegid() || !is_mappable(socket_fd);
}

/* One direction, until its end. */
static void pump(int from, int to)
{
    static char data[CHUNK];
    for (;;) {
        struct fd_list fds = {0};
        ssize_t n = socket_receive(from, data, sizeof(data), 0, &fds);
        if (n == 0) {
            (void)shutdown(to, SHUT_WR);
            return;
        }
        int r = n < 0 ? (int)n : socket_send(to, data, (size_t)n, fds.fds, fds.n);
        if (r < 0) {
            (void)shutdown(from, SHUT_RDWR);
            (void)shutdown(to, SHUT_RDWR);
        }
        fd_list_clear(&fds);
        if (r < 0)
            return;
    }
}

/* Ends with its parent, which may have ended already. */
static void end_with(pid_t parent)
{
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
        _exit(0);
}

static _Noreturn void serve(int client_fd, int socket_fd)
{
    int server_fd = display_connect(socket_fd);
    const struct timeval never = {0};
    if (server_fd < 0 ||
        setsockopt(server_fd, SOL_SOCKET, SO_RCVTIMEO, &never, sizeof(never)) < 0 ||
        setsockopt(server_fd, SOL_SOCKET, SO_SNDTIMEO, &never, sizeof(never)) < 0)
        _exit(1);
    pid_t self = getpid();
    pid_t other = fork();
    if (other == 0) {
        end_with(self);
        pump(server_fd, client_fd);
        _exit(0);
    }
    if (other > 0)
        pump(client_fd, server_fd);
    (void)waitpid(other, NULL, 0);
    _exit(0);
}

/* What the accepting process has: these fds alone, and the socket's name, to remove it. */
enum { FORWARD_LISTEN = 3, FORWARD_SERVER, FORWARD_CLIENT, FORWARD_DIRECTORY, _FORWARD_END };

#define NAME "s"

static void accept_one(unsigned *n)
{
    int fd = accept4(FORWARD_LISTEN, NULL, NULL, SOCK_CLOEXEC);
    pid_t self = getpid();
    pid_t pid = fd < 0 ? -1 : fork();
    if (pid == 0) {
        end_with(self);
        (void)close(FORWARD_CLIENT);
        serve(fd, FORWARD_SERVER);
    }
    if (pid < 0)
        (void)usleep(100000); /* nothing more to be had: for now */
    *n += pid > 0;
    fd_close(fd);
}

/* Until the client is gone. */
static void accept_all(void)
{
    unsigned n = 0;
    struct pollfd fds[] = {{.fd = FORWARD_CLIENT, .events = POLLIN},
                           {.fd = FORWARD_LISTEN, .events = POLLIN}};
    while (fds[0].revents == 0) {
        /* with so many, the next one waits for one to end */
        int ready = poll(fds, n < CONNECTIONS_MAX ? 2 : 1, n > 0 ? REAP_MS : -1);
        while (n > 0 && waitpid(-1, NULL, WNOHANG) > 0)
            n--;
        if (ready > 0 && fds[1].revents && n < CONNECTIONS_MAX)
            accept_one(&n);
        fds[1].revents = 0;
    }
}

/* Nothing else of the client's. */
static int keep_only(const int *fds)
{
    int high[_FORWARD_END];
    int r = 0;
    for (int i = FORWARD_LISTEN; i < _FORWARD_END && r == 0; i++) {
        high[i] = fcntl(fds[i], F_DUPFD_CLOEXEC, 64);
        r = high[i] < 0 ? -errno : 0;
    }
    for (int i = FORWARD_LISTEN; i < _FORWARD_END && r == 0; i++)
        r = dup2(high[i], i) < 0 ? -errno : 0;
    return r < 0 ? r : close_from(_FORWARD_END);
}

/* A listening socket in a directory; O_PATH of it. */
static int listen_in(int dir, int listen_fd)
{
    struct sockaddr_un address = {.sun_family = AF_UNIX};
    (void)snprintf(address.sun_path, sizeof(address.sun_path), "/proc/self/fd/%d/" NAME, dir);
    if (bind(listen_fd, (const struct sockaddr *)&address, sizeof(address)) < 0 ||
        fchmodat(dir, NAME, 0777, 0) < 0 || listen(listen_fd, SOMAXCONN) < 0)
        return -errno;
    int fd = openat(dir, NAME, O_PATH | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

/* A new directory that only the caller enters: O_PATH fd. */
static int make_directory(char path[static PATH_MAX], struct error *err)
{
    const char *runtime = getenv("XDG_RUNTIME_DIR");
    int n = snprintf(path, PATH_MAX, "%s/isolate-XXXXXX",
                     runtime && *runtime == '/' ? runtime : "/tmp");
    if (n >= PATH_MAX || !mkdtemp(path))
        return fail(err, ERROR_SYSTEM, n >= PATH_MAX ? ENAMETOOLONG : errno,
                    "a directory %.200s: ", path);
    int dir = open(path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (dir >= 0)
        return dir;
    int r = fail(err, ERROR_SYSTEM, errno, "a directory %.200s: ", path);
    (void)rmdir(path);
    return r;
}

/* The forwarder: makes its socket and gives O_PATH of it to the client. It, and not the client,
 * has something to remove from the first moment on, so that the client may be killed at any. */
static int make_socket(int *fds, char directory[static PATH_MAX], struct error *err)
{
    fds[FORWARD_LISTEN] = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fds[FORWARD_LISTEN] < 0)
        return fail(err, ERROR_SYSTEM, errno, "a socket: ");
    fds[FORWARD_DIRECTORY] = make_directory(directory, err);
    if (fds[FORWARD_DIRECTORY] < 0)
        return fds[FORWARD_DIRECTORY];
    int fd = listen_in(fds[FORWARD_DIRECTORY], fds[FORWARD_LISTEN]);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "a socket in %.200s: ", directory) : fd;
}

static bool use_no_stdio(void)
{
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    bool ready = null_fd >= 0;
    for (int i = 0; i < 3 && ready; i++)
        ready = dup2(null_fd, i) >= 0;
    return ready;
}

static _Noreturn void forwarder(int socket_fd, int client_fd)
{
    char directory[PATH_MAX];
    struct error err = {0};
    int fds[_FORWARD_END] = {[FORWARD_LISTEN] = -EBADF,
                             [FORWARD_SERVER] = socket_fd,
                             [FORWARD_CLIENT] = client_fd,
                             [FORWARD_DIRECTORY] = -EBADF};
    /* what is typed on the caller's terminal is not for it, nor does it hold the caller's pipes
     */
    (void)setsid();
    (void)prctl(PR_SET_NAME, "isolate-forward");
    (void)signal(SIGPIPE, SIG_IGN);
    _cleanup_close_ int fd = make_socket(fds, directory, &err);
    int r = socket_send(client_fd, &err, sizeof(err), &fd, fd < 0 ? 0 : 1);
    fd = fd_close(fd);
    if (r == 0 && err.code == ERROR_NONE && use_no_stdio() && keep_only(fds) == 0) {
        fds[FORWARD_DIRECTORY] = FORWARD_DIRECTORY;
        accept_all();
    }
    if (fds[FORWARD_DIRECTORY] >= 0) {
        (void)unlinkat(fds[FORWARD_DIRECTORY], NAME, 0);
        (void)rmdir(directory);
    }
    _exit(0);
}

static int receive_socket(int forwarder_fd, struct error *err)
{
    struct error said = {0};
    _cleanup_fd_list_ struct fd_list fds = {0};
    ssize_t n = socket_receive(forwarder_fd, &said, sizeof(said), 0, &fds);
    if (n != (ssize_t)sizeof(said) || (said.code == ERROR_NONE && fds.n != 1))
        return fail(err, ERROR_SYSTEM, n < 0 ? (int)n : EPIPE, "what forwards: ");
    if (said.code != ERROR_NONE) {
        *err = said;
        return -said.errnum;
    }
    return TAKE_FD(fds.fds[0]);
}

int forward_start(int socket_fd, int *ret_fd, struct forward *ret, struct error *err)
{
    int sockets[2];
    int r = socket_pair(SOCK_SEQPACKET, sockets);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "start what forwards: ");
    _cleanup_close_ int theirs = sockets[0];
    _cleanup_close_ int ours = sockets[1];
    pid_t pid = fork();
    if (pid == 0) {
        fd_closep(&ours);
        forwarder(socket_fd, theirs);
    }
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, errno, "start what forwards: ");
    fd_closep(&theirs);
    int fd = receive_socket(ours, err);
    struct forward made = {.pid = pid, .alive_fd = TAKE_FD(ours)};
    if (fd < 0) {
        forward_end(&made);
        return fd;
    }
    *ret_fd = fd;
    *ret = made;
    return 0;
}

void forward_end(struct forward *forward)
{
    if (forward->pid <= 0)
        return;
    _cleanup_close_ int pidfd = pidfd_open_pid(forward->pid);
    forward->alive_fd = fd_close(forward->alive_fd);
    if (pidfd >= 0 && pidfd_wait(pidfd, DYING_MS) == 1)
        (void)waitpid(forward->pid, NULL, 0);
    forward->pid = 0;
}
