/* SPDX-License-Identifier: Apache-2.0 */
/* Programs of the machine. Runs in isolate-image and isolated as root; names are constants,
 * arguments are validated by the callers, output is only read as text. */
#include "sys/program.h"

#include "base/text.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <spawn.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>

#define LOOK_MS  200
#define DYING_MS 100

static const char *const directories[] = {"/usr/bin", "/usr/sbin",      "/bin",
                                          "/sbin",    "/usr/local/bin", "/usr/local/sbin"};

/* fds: stdin, -EBADF for /dev/null, stdout and stderr. */
static int spawn(const char *path, const char *const *argv, const int fds[3], pid_t *ret_pid)
{
    char temporary[PATH_MAX + 8];
    const char *given = getenv("TMPDIR");
    bool usable = given && *given == '/' && strlen(given) < PATH_MAX;
    (void)snprintf(temporary, sizeof(temporary), "TMPDIR=%s", usable ? given : "/var/tmp");
    char *environment[] = {(char[]){"PATH=/usr/sbin:/usr/bin:/sbin:/bin"},
                           (char[]){"LC_ALL=C.UTF-8"},
                           (char[]){"HOME=/root"},
                           (char[]){"DEBIAN_FRONTEND=noninteractive"},
                           temporary,
                           NULL};
    posix_spawn_file_actions_t actions;
    posix_spawnattr_t attributes;
    sigset_t all;
    sigset_t none;
    (void)sigfillset(&all);
    (void)sigemptyset(&none);
    int r = posix_spawn_file_actions_init(&actions);
    if (r != 0)
        return -r;
    r = posix_spawnattr_init(&attributes);
    if (r != 0) {
        (void)posix_spawn_file_actions_destroy(&actions);
        return -r;
    }
    (void)posix_spawnattr_setflags(&attributes, POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF);
    (void)posix_spawnattr_setsigmask(&attributes, &none);
    (void)posix_spawnattr_setsigdefault(&attributes, &all);
    r = fds[0] < 0 ? posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
                   : posix_spawn_file_actions_adddup2(&actions, fds[0], 0);
    for (int i = 1; i < 3 && r == 0; i++)
        r = posix_spawn_file_actions_adddup2(&actions, fds[i], i);
    if (r == 0)
        r = posix_spawn(ret_pid, path, &actions, &attributes, (char *const *)argv, environment);
    (void)posix_spawnattr_destroy(&attributes);
    (void)posix_spawn_file_actions_destroy(&actions);
    return -r;
}

static int start(const char *const *argv, const int fds[3], pid_t *ret_pid, struct error *err)
{
    int r = -ENOENT;
    for (size_t i = 0; i < ELEMENTS(directories) && r == -ENOENT; i++) {
        char path[PATH_MAX];
        (void)snprintf(path, sizeof(path), "%s/%s", directories[i], argv[0]);
        r = spawn(path, argv, fds, ret_pid);
    }
    if (r == -ENOENT)
        return fail(err, ERROR_NOT_FOUND, ENOENT, "the program %s is not installed", argv[0]);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "start %s: ", argv[0]) : 0;
}

int program_start(const char *const *argv, int stdout_fd, int stderr_fd, pid_t *ret_pid,
                  struct error *err)
{
    return start(argv, (const int[3]){-EBADF, stdout_fd, stderr_fd}, ret_pid, err);
}

static int check_status(int status, const char *name, struct error *err)
{
    if (WIFSIGNALED(status))
        return fail(err, ERROR_SYSTEM, EIO, "%s was ended by signal %d", name,
                    WTERMSIG(status));
    if (WEXITSTATUS(status) != 0)
        return fail(err, ERROR_SYSTEM, EIO, "%s failed with status %d", name,
                    WEXITSTATUS(status));
    return 0;
}

int program_wait(pid_t pid, const char *name, struct error *err)
{
    int status = 0;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR)
            return fail(err, ERROR_SYSTEM, errno, "wait for %s: ", name);
    return check_status(status, name, err);
}

int program_wait_watched(pid_t pid, const struct program_watch *watch, int *ret_status,
                         struct error *err)
{
    int r = 0;
    int ended = 0;
    uint64_t begin = time_now_ms();
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    if (pidfd < 0)
        return fail(err, ERROR_SYSTEM, pidfd, "watch a process: ");
    while (r == 0 && (ended = pidfd_wait(pidfd, LOOK_MS)) == 0)
        r = watch->look(watch->data, time_now_ms() - begin, err);
    if (ended < 0)
        r = fail(err, ERROR_SYSTEM, ended, "watch a process: ");
    if (r < 0) {
        (void)!pidfd_signal(pidfd, SIGKILL);
        ended = pidfd_wait(pidfd, DYING_MS);
    }
    if (ended > 0 && waitpid(pid, ret_status, 0) < 0 && r == 0)
        r = fail(err, ERROR_SYSTEM, errno, "wait for a process: ");
    return r;
}

/* Why it failed, as it said itself. */
static int complain(const char *name, int log, int r, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    char why[300];
    if (lseek(log, 0, SEEK_SET) < 0 || fd_read_all(log, 65536, &text) < 0 || !text.data)
        return r;
    program_complaint(text.data, why, sizeof(why));
    struct error inner = {0};
    int e = fail(&inner, ERROR_SYSTEM, -r, "%s failed: %s", name, why);
    if (err)
        *err = inner;
    return e;
}

int program_capture(const char *const *argv, size_t max, struct buffer *ret, struct error *err)
{
    int ends[2];
    pid_t pid = -1;
    /* a file, so that no amount of complaints can block the program */
    _cleanup_close_ int log = memfd_create("log", MFD_CLOEXEC);
    if (log < 0 || pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "start %s: ", argv[0]);
    _cleanup_close_ int reading = ends[0];
    _cleanup_close_ int writing = ends[1];
    int r = program_start(argv, writing, log, &pid, err);
    if (r < 0)
        return r;
    fd_closep(&writing);
    int got = fd_read_all(reading, max, ret);
    fd_closep(&reading);
    r = program_wait(pid, argv[0], err);
    if (r < 0)
        return complain(argv[0], log, r, err);
    return got < 0 ? fail(err, ERROR_SYSTEM, got, "read the output of %s: ", argv[0]) : 0;
}

int program_capture_watched(const char *const *argv, size_t max, int stdin_fd,
                            const struct program_watch *watch, struct buffer *ret,
                            struct error *err)
{
    pid_t pid = -1;
    int status = 0;
    _cleanup_close_ int log = memfd_create("log", MFD_CLOEXEC);
    _cleanup_close_ int out = memfd_create("out", MFD_CLOEXEC);
    if (log < 0 || out < 0)
        return fail(err, ERROR_SYSTEM, errno, "start %s: ", argv[0]);
    int r = start(argv, (const int[3]){stdin_fd, out, log}, &pid, err);
    if (r == 0)
        r = program_wait_watched(pid, watch, &status, err);
    if (r < 0)
        return r;
    r = check_status(status, argv[0], err);
    if (r < 0)
        return complain(argv[0], log, r, err);
    r = lseek(out, 0, SEEK_SET) < 0 ? -errno : fd_read_all(out, max, ret);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "read the output of %s: ", argv[0]) : 0;
}

void program_complaint(const char *log, char *out, size_t size)
{
    const char *lines[3] = {NULL};
    const char *last = "no reason given";
    for (const char *line = log; *line;) {
        size_t n = strcspn(line, "\n");
        if (n > 0)
            last = line;
        if (text_after(line, "E: ") || text_after(line, "Err:") ||
            text_after(line, "cannot ")) {
            memmove(lines, lines + 1, sizeof(lines) - sizeof(*lines));
            lines[ELEMENTS(lines) - 1] = line;
        }
        line += n;
        line += *line == '\n';
    }
    if (!lines[ELEMENTS(lines) - 1])
        lines[ELEMENTS(lines) - 1] = last;
    size_t used = 0;
    out[0] = '\0';
    for (size_t i = 0; i < ELEMENTS(lines) && used < size - 1; i++) {
        if (!lines[i])
            continue;
        const char *text = text_after(lines[i], "E: ");
        text = text ? text : lines[i];
        int n = snprintf(out + used, size - used, "%s%.*s", used ? "; " : "",
                         (int)strcspn(text, "\n"), text);
        used += n > 0 ? (size_t)n : 0;
    }
}
