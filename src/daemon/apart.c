/* SPDX-License-Identifier: Apache-2.0 */
/* A method that may take long (a walk over a clone, a commit, an image worker's work) runs in a
 * fork, so that everybody else is served meanwhile: the fork writes its replies into a socket
 * that the caller's decoder passes on. Runs in isolated as root; the fork ends with it,
 * wherever it is, as the one-shot that the same code runs in may. */
#include "daemon/apart.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/confine.h"
#include "daemon/methods.h"
#include "sys/process.h"

#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/wait.h>

#define CALLS_MAX    256 /* at once */
#define CALLS_OF_ONE 32  /* of them, by one user: an answer that nobody reads keeps one busy */
#define LARGE_OF_ONE 4   /* of these, with a command: megabytes, several times over */

#define EXIT_UNANSWERED 2 /* of a call's process that could not even say why */

struct apart {
    struct daemon *daemon;
    struct apart *next;
    struct session *session; /* NULL when it is gone */
    uid_t uid;               /* the caller's */
    bool is_large;
    pid_t pid;
    int pidfd;
    sd_event_source *pid_io;
    char method[64];
    char *name; /* the parameter of that name */
};

static void apart_free(struct apart *apart)
{
    struct apart **at = &apart->daemon->apart;
    while (*at && *at != apart)
        at = &(*at)->next;
    if (*at)
        *at = apart->next;
    apart->pid_io = sd_event_source_unref(apart->pid_io);
    apart->pidfd = fd_close(apart->pidfd);
    free(apart->name);
    free(apart);
}

static int on_exit_of(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct apart *apart = data;
    int status = 0;
    bool ended = waitpid(apart->pid, &status, WNOHANG) == apart->pid && WIFEXITED(status);
    bool good = ended && WEXITSTATUS(status) == 0;
    /* a caller that leaves with its reply may have had it killed behind that */
    if (!ended)
        methods_killed(apart->daemon, apart->method);
    methods_after(apart->daemon, good ? apart->method : "", apart->name);
    bool answered = ended && WEXITSTATUS(status) != EXIT_UNANSWERED;
    if (apart->session && !answered)
        session_hang_up(apart->session);
    apart_free(apart);
    return 0;
}

/* isolated's is no good in a fork, and what it watches is not this one's. */
static int own_event_loop(struct daemon *daemon, struct error *err)
{
    daemon->workers = NULL;
    daemon->event = NULL;
    int r = sd_event_new(&daemon->event);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "event loop: ") : 0;
}

static _Noreturn void child(struct call *call, int (*handler)(struct call *, struct error *),
                            int reply_fd)
{
    struct daemon *daemon = session_daemon(call->session);
    struct error err = {0};
    int kept[8 + SOCKET_FDS_MAX] = {daemon->state_fd, daemon->run_fd, daemon->cgroup_fd,
                                    daemon->init_fd, reply_fd};
    size_t n = 5;
    for (size_t i = 0; i < call->fds->n; i++)
        kept[n++] = call->fds->fds[i];
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* whatever else is open belongs to isolated: records' locks above all */
    if (close_others(kept, n) < 0)
        _exit(EXIT_UNANSWERED);
    session_redirect(call->session, reply_fd);
    int r = confine_work(&err);
    if (r == 0)
        r = own_event_loop(daemon, &err);
    if (r == 0)
        r = handler(call, &err);
    if (r < 0)
        session_fail(call->session, &err);
    while (daemon->workers) /* which reply when they are done */
        if (sd_event_run(daemon->event, UINT64_MAX) < 0)
            _exit(EXIT_UNANSWERED);
    _exit(r < 0);
}

static int watch(struct apart *apart, struct error *err)
{
    int r = sd_event_add_io(apart->daemon->event, &apart->pid_io, apart->pidfd, EPOLLIN,
                            on_exit_of, apart);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "%s: ", apart->method) : 0;
}

/* Root is never kept waiting by others, nor anybody by one other. */
static bool too_many(const struct daemon *daemon, const struct call *call)
{
    unsigned n = 0;
    unsigned own = 0;
    unsigned own_large = 0;
    uid_t uid = call->peer->uid;
    for (const struct apart *apart = daemon->apart; apart; apart = apart->next) {
        n++;
        own += apart->uid == uid;
        own_large += apart->uid == uid && apart->is_large;
    }
    return own >= CALLS_OF_ONE || (n >= CALLS_MAX && uid != 0) ||
           (call->length > CALL_LENGTH_MAX && own_large >= LARGE_OF_ONE);
}

int apart_call(struct call *call, int (*handler)(struct call *call, struct error *err),
               struct error *err)
{
    struct daemon *daemon = session_daemon(call->session);
    const char *name = call_text(call, "name");
    int pair[2];
    if (too_many(daemon, call))
        return fail(err, ERROR_BUSY, EBUSY,
                    "isolated works on %d such calls of yours already, on %d of more than %u "
                    "bytes, or on very many; try again",
                    CALLS_OF_ONE, LARGE_OF_ONE, CALL_LENGTH_MAX);
    int r = socket_pair(SOCK_STREAM, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "%s: ", call->method);
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    struct apart *apart = calloc(1, sizeof(*apart));
    if (!apart)
        return fail(err, ERROR_SYSTEM, ENOMEM, "%s: ", call->method);
    *apart = (struct apart){.daemon = daemon,
                            .next = daemon->apart,
                            .session = call->session,
                            .uid = call->peer->uid,
                            .is_large = call->length > CALL_LENGTH_MAX,
                            .pidfd = -EBADF,
                            .name = name ? strdup(name) : NULL};
    (void)snprintf(apart->method, sizeof(apart->method), "%s", call->method);
    daemon->apart = apart;
    apart->pid = process_clone(0, -EBADF, &apart->pidfd);
    if (apart->pid == 0)
        child(call, handler, theirs);
    r = apart->pid < 0 ? fail(err, ERROR_SYSTEM, apart->pid, "%s: ", call->method)
                       : watch(apart, err);
    if (r < 0) {
        apart_free(apart);
        return r;
    }
    session_stream(call->session, ours);
    return 0;
}

void apart_abandon(struct daemon *daemon, const struct session *session)
{
    for (struct apart *apart = daemon->apart; apart; apart = apart->next)
        if (apart->session == session) {
            apart->session = NULL;
            (void)!pidfd_signal(apart->pidfd, SIGKILL);
        }
}

void apart_forget_all(struct daemon *daemon)
{
    for (struct apart *apart = daemon->apart, *next = NULL; apart; apart = next) {
        next = apart->next;
        apart_free(apart);
    }
}
