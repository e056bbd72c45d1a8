/* SPDX-License-Identifier: Apache-2.0 */
/* `isolated --oneshot FD`: serves the one client at the other end of that socket, as `isolate`
 * starts it where there is no resident daemon, and is gone when all is clean. Runs as root. */
#include "daemon/start.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/confine.h"

#include <signal.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/stat.h>

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

int oneshot_main(int fd)
{
    struct error err = {0};
    struct daemon daemon;
    daemon_init(&daemon);
    detach_from_terminal();
    int r = confine_machine(&err);
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
