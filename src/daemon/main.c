/* SPDX-License-Identifier: Apache-2.0 */
/* isolated: the privileged side of isolate. `isolated --oneshot FD` serves the one client at
 * the other end of that socket, as `isolate` starts it where there is no resident daemon, and
 * is gone when all is clean. Runs as root. */
#include "base/log.h"
#include "base/parse.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "paths.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

static int usage(void)
{
    log_error("isolated: usage: isolated --oneshot FD | --version");
    return 125;
}

/* A one-shot must outlive the terminal and the signals of its client, which it watches itself.
 */
static void detach_from_terminal(void)
{
    static const int ignored[] = {SIGINT,  SIGQUIT, SIGHUP,  SIGTERM,
                                  SIGPIPE, SIGTSTP, SIGTTOU, SIGTTIN};
    for (size_t i = 0; i < ELEMENTS(ignored); i++)
        (void)signal(ignored[i], SIG_IGN);
    (void)signal(SIGCHLD, SIG_DFL);
    sigset_t none;
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    (void)setsid();
    (void)umask(077);
    (void)prctl(PR_SET_DUMPABLE, 0);
    (void)!chdir("/");
}

static int serve(struct daemon *daemon, int fd, struct error *err)
{
    int r = sd_event_new(&daemon->event);
    if (r < 0) {
        fd_close(fd);
        return fail(err, ERROR_SYSTEM, r, "event loop: ");
    }
    r = session_new(daemon, fd, err);
    if (r < 0)
        return r;
    r = sd_event_loop(daemon->event);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "event loop: ") : 0;
}

/* What keeps us from serving at all is told to the client as the answer to its first call. */
static int refuse(struct daemon *daemon, int fd, const struct error *why)
{
    struct error err = {0};
    if (sd_event_new(&daemon->event) < 0 || session_new(daemon, fd, &err) < 0)
        return 125;
    session_fail(daemon->sessions, why);
    session_free(daemon->sessions);
    daemon->event = sd_event_unref(daemon->event);
    return 125;
}

static int oneshot(int fd)
{
    struct error err = {0};
    const char *libexec = getenv("ISOLATE_LIBEXEC_DIR");
    struct daemon daemon = {
        .config_file = getenv("ISOLATE_CONFIG"),
        .libexec = libexec ? libexec : PATH_LIBEXEC,
        .state_fd = -EBADF,
        .run_fd = -EBADF,
        .cgroup_fd = -EBADF,
        .init_fd = -EBADF,
        .nursery_fd = -EBADF,
    };
    detach_from_terminal();
    int r = getuid() == 0 ? config_load(daemon.config_file, &daemon.config, &err)
                          : fail(&err, ERROR_DENIED, EPERM, "isolated must run as root");
    if (r == 0)
        r = daemon_open(&daemon, &err);
    if (r == 0)
        r = recover_all(&daemon, &err);
    int status = r < 0 ? refuse(&daemon, fd, &err) : 0;
    if (r == 0 && serve(&daemon, fd, &err) < 0) {
        log_error("%s", err.text);
        status = 125;
    }
    daemon_close(&daemon);
    return status;
}

int main(int argc, char **argv)
{
    uint32_t fd = 0;
    struct error err = {0};
    if (fd_open_missing_stdio() < 0)
        return 125;
    if (argc == 2 && streq(argv[1], "--version")) {
        (void)printf("isolated %s\n", ISOLATE_VERSION);
        return 0;
    }
    if (argc != 3 || !streq(argv[1], "--oneshot"))
        return usage();
    if (parse_u32(argv[2], 3, 65535, &fd, "--oneshot", &err) < 0) {
        log_error("isolated: %s", err.text);
        return 125;
    }
    /* the caller's other descriptors are not ours to hold */
    if ((fd > 3 && close_range(3, fd - 1, 0) < 0) || close_from((int)fd + 1) < 0) {
        log_error("isolated: close inherited descriptors: %s", strerror(errno));
        return 125;
    }
    if (fcntl((int)fd, F_SETFD, FD_CLOEXEC) < 0) {
        log_error("isolated: --oneshot %u: no such descriptor", fd);
        return 125;
    }
    return oneshot((int)fd);
}
