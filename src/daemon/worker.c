/* SPDX-License-Identifier: Apache-2.0 */
/* Image workers: isolate-image, in a cgroup and in mount and pid namespaces of its own, so that
 * ending one process ends everything that a bootstrap has started and mounted. Runs in isolated
 * as root; the worker is root too and confines itself while it reads hostile archives. It dies
 * with isolated; what it made is then garbage that its record leads to. */
#include "base/text.h"
#include "daemon/confine.h"
#include "daemon/daemon.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/prctl.h>
#include <sys/wait.h>
#include <time.h>

#define OUTPUT_MAX 65536

struct worker {
    struct daemon *daemon;
    struct record record; /* storage "": a worker's */
    int lock_fd;
    int cgroup_fd;
    int output_fd;
    int pidfd;
    pid_t pid;
    struct buffer output;
    sd_event_source *io;
    const struct session *session;
    worker_done done;
    void *data;
    struct worker *next;
};

static void worker_free(struct worker *worker)
{
    worker->io = sd_event_source_unref(worker->io);
    worker->output_fd = fd_close(worker->output_fd);
    worker->pidfd = fd_close(worker->pidfd);
    worker->cgroup_fd = fd_close(worker->cgroup_fd);
    worker->lock_fd = fd_close(worker->lock_fd);
    buffer_clear(&worker->output);
    free(worker);
}

enum { CHILD_FD_FIRST = 3, ERRNO_MAX = 4095 };

/* "@0" and so on: the number of that fd in the worker. Others are the caller's words. */
static bool is_fd(const char *argument)
{
    return argument[0] == '@' && argument[1] >= '0' && argument[1] < '0' + WORKER_FDS &&
           argument[2] == '\0';
}

/* As isolate-image says it. */
static _Noreturn void give_up(int output_fd, int r, const struct error *err)
{
    (void)!dprintf(output_fd, "%d %s\n", -r, err->text);
    _exit(1);
}

static _Noreturn void child(const struct worker_request *request, const char *program,
                            int output_fd, int null_fd)
{
    struct error err = {0};
    char numbers[WORKER_FDS][4] = {"3", "4", "5", "6"};
    char *argv[WORKER_ARGUMENTS + 2] = {(char *)"isolate-image"};
    char *const environment[] = {
        (char *)"PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
        (char *)"LC_ALL=C.UTF-8", (char *)"HOME=/root", (char *)"ISOLATE_WORKER=1", NULL};
    sigset_t none;
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL);
    /* isolated may have died before that line; its number means nothing in this namespace, but
     * then the other end of the pipe is closed */
    struct pollfd reader = {.fd = output_fd};
    if (poll(&reader, 1, 0) != 0)
        _exit(1);
    for (int i = 0; i < WORKER_ARGUMENTS && request->argv[i]; i++)
        argv[i + 1] = is_fd(request->argv[i]) ? numbers[request->argv[i][1] - '0']
                                              : (char *)request->argv[i];
    int fds[WORKER_FDS] = {0};
    int stderr_fd = fcntl(request->stderr_fd >= 0 ? request->stderr_fd : null_fd, F_DUPFD, 16);
    int output = fcntl(output_fd, F_DUPFD, 16);
    for (int i = 0; i < WORKER_FDS; i++)
        fds[i] = request->fds[i] > 0 ? fcntl(request->fds[i], F_DUPFD, 16) : -EBADF;
    if (dup2(null_fd, 0) < 0 || dup2(output, 1) < 0 || dup2(stderr_fd, 2) < 0)
        give_up(output_fd, fail(&err, ERROR_SYSTEM, errno, "image worker: fds: "), &err);
    int used = CHILD_FD_FIRST;
    for (int i = 0; i < WORKER_FDS && fds[i] >= 0; i++)
        if (dup2(fds[i], used++) < 0)
            give_up(1, fail(&err, ERROR_SYSTEM, errno, "image worker: fds: "), &err);
    (void)sigemptyset(&none);
    (void)sigprocmask(SIG_SETMASK, &none, NULL);
    int r = close_from(used);
    if (r == 0)
        r = mount_classic(NULL, "/", NULL, MS_REC | MS_SLAVE, NULL);
    if (r == 0)
        r = mount_classic("proc", "/proc", "proc", MS_NOSUID | MS_NODEV | MS_NOEXEC, NULL);
    if (r < 0)
        give_up(1, fail(&err, ERROR_SYSTEM, r, "image worker: its mounts: "), &err);
    r = confine_work(&err);
    if (r < 0)
        give_up(1, r, &err);
    (void)execve(program, argv, environment);
    give_up(1, fail(&err, ERROR_SYSTEM, errno, "%s: ", program), &err);
}

/* "ERRNO SENTENCE\n", as isolate-image says it; what it was taken over by may say anything. */
static int worker_failed(const struct worker *worker, struct error *err)
{
    char *sentence = NULL;
    const char *said = worker->output.length > 0 ? worker->output.data : NULL;
    long errnum = said ? strtol(said, &sentence, 10) : 0;
    bool is_numbered =
        said && sentence > said && *sentence == ' ' && errnum > 0 && errnum <= ERRNO_MAX;
    int r = fail(err, ERROR_SYSTEM, is_numbered ? (int)errnum : EIO, "%.480s",
                 is_numbered ? sentence + 1
                 : said      ? said
                             : "the image worker was killed");
    err->text[strcspn(err->text, "\n")] = '\0';
    return r;
}

static void worker_finish(struct worker *worker)
{
    struct daemon *daemon = worker->daemon;
    struct error err = {0};
    int status = 0;
    int r = 0;
    (void)!pidfd_signal(worker->pidfd, SIGKILL); /* it closed its output: it is over */
    if (waitpid(worker->pid, &status, 0) < 0 || !WIFEXITED(status) || WEXITSTATUS(status) != 0)
        r = worker_failed(worker, &err);
    (void)!cgroup_destroy(daemon->cgroup_fd, worker->record.id, 5000);
    struct worker **at = &daemon->workers;
    while (*at != worker)
        at = &(*at)->next;
    *at = worker->next;
    worker->done(worker->data, r, worker->output.data ? worker->output.data : "", &err);
    /* only now is there nothing half-made that the record would have to lead to */
    _cleanup_close_ int records = records_running(daemon, NULL);
    if (records >= 0)
        (void)!record_remove(records, worker->record.id);
    worker_free(worker);
    daemon_maybe_exit(daemon);
}

static int on_output(sd_event_source *source, int fd, uint32_t events, void *data)
{
    struct worker *worker = data;
    char block[4096];
    ssize_t n = read(fd, block, sizeof(block));
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return 0;
    if (n > 0) {
        if (worker->output.length < OUTPUT_MAX)
            buffer_append(&worker->output, block, (size_t)n);
        return 0;
    }
    /* end of output means end of program, or nearly so: it has nothing else to do */
    if (pidfd_wait(worker->pidfd, 2000) < 0)
        errno = 0;
    worker_finish(worker);
    return 0;
}

static int worker_record(struct worker *worker, struct error *err)
{
    struct timespec now;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    (void)snprintf(worker->record.id, sizeof(worker->record.id), "worker_%019" PRIu64,
                   (uint64_t)now.tv_sec * 1000000000 + (uint64_t)now.tv_nsec);
    (void)snprintf(worker->record.state, sizeof(worker->record.state), "worker");
    _cleanup_close_ int records = records_running(worker->daemon, err);
    return records < 0 ? records
                       : record_write(records, &worker->record, &worker->lock_fd, err);
}

static int worker_spawn(struct worker *worker, const struct worker_request *request,
                        struct error *err)
{
    char program[512];
    int pipe_fds[2];
    struct daemon *daemon = worker->daemon;
    (void)snprintf(program, sizeof(program), "%s/isolate-image", daemon->libexec);
    if (access(program, X_OK) < 0)
        return fail(err, ERROR_UNSUPPORTED, errno,
                    "%s (is isolate installed completely?): ", program);
    int r = worker_record(worker, err);
    if (r == 0)
        r = daemon_follow_cgroup(daemon, err);
    if (r < 0)
        return r;
    worker->cgroup_fd = cgroup_create(daemon->cgroup_fd, worker->record.id);
    _cleanup_close_ int null_fd = open("/dev/null", O_RDWR | O_CLOEXEC);
    if (worker->cgroup_fd < 0)
        return fail(err, ERROR_SYSTEM, worker->cgroup_fd, "image worker: its cgroup: ");
    if (null_fd < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "image worker: ");
    worker->output_fd = pipe_fds[0];
    _cleanup_close_ int output = pipe_fds[1];
    worker->pid = process_clone(CLONE_NEWNS | CLONE_NEWPID | CLONE_NEWIPC, worker->cgroup_fd,
                                &worker->pidfd);
    if (worker->pid == 0)
        child(request, program, output, null_fd);
    return worker->pid < 0 ? fail(err, ERROR_SYSTEM, worker->pid, "image worker: ") : 0;
}

int worker_start(struct daemon *daemon, const struct worker_request *request, struct error *err)
{
    struct worker *worker = calloc(1, sizeof(*worker));
    if (!worker)
        return fail(err, ERROR_SYSTEM, ENOMEM, "image worker: ");
    *worker = (struct worker){
        .daemon = daemon,
        .lock_fd = -EBADF,
        .cgroup_fd = -EBADF,
        .output_fd = -EBADF,
        .pidfd = -EBADF,
        .session = request->session,
        .done = request->done,
        .data = request->data,
    };
    int r = worker_spawn(worker, request, err);
    if (r == 0) {
        r = sd_event_add_io(daemon->event, &worker->io, worker->output_fd, EPOLLIN, on_output,
                            worker);
        if (r < 0)
            r = fail(err, ERROR_SYSTEM, r, "image worker: ");
    }
    if (r < 0) {
        /* the record stays, with nobody's lock on it: the next recovery takes it all away */
        worker_free(worker);
        return r;
    }
    worker->next = daemon->workers;
    daemon->workers = worker;
    return 0;
}

void worker_abandon(struct daemon *daemon, const struct session *session)
{
    for (struct worker *worker = daemon->workers; worker; worker = worker->next)
        if (worker->session == session)
            (void)!pidfd_signal(worker->pidfd, SIGKILL);
}
