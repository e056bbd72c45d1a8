/* SPDX-License-Identifier: Apache-2.0 */
/* Children of isolate-image. Runs in it as root; what a child says is checked, because what it
 * read may have taken it over. */
#include "image/child.h"

#include "image/progress.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/wait.h>

int image_child_fork(const char *what, struct image_child *ret, struct error *err)
{
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "unpack %.200s: ", what);
    pid_t pid = fork();
    if (pid < 0) {
        int r = -errno;
        fd_close(ends[0]);
        fd_close(ends[1]);
        return fail(err, ERROR_SYSTEM, r, "unpack %.200s: fork: ", what);
    }
    fd_close(ends[pid == 0 ? 0 : 1]);
    *ret = (struct image_child){.pid = pid, .error_fd = ends[pid == 0 ? 1 : 0]};
    return 0;
}

void image_child_exit(const struct image_child *child, int result, const struct error *err)
{
    /* empty where all went well: its end says so */
    int sent = result < 0 ? fd_write_all(child->error_fd, err, sizeof(*err)) : 0;
    _exit(result < 0 || sent < 0 ? 1 : 0);
}

static int wait_for(pid_t pid, int *ret_status, struct progress *progress)
{
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    while (pidfd >= 0 && pidfd_wait(pidfd, 200) == 0)
        progress_tick(progress);
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int image_child_wait(struct image_child *child, const char *what, struct progress *progress,
                     struct error *err)
{
    struct error theirs = {0};
    int status = 0;
    int r = wait_for(child->pid, &status, progress);
    _cleanup_close_ int error_fd = TAKE_FD(child->error_fd);
    child->pid = 0;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "unpack %.200s: wait: ", what);
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (WIFSIGNALED(status))
        return fail(err, ERROR_SYSTEM, EIO,
                    "unpack %.200s: the unpacking process was ended by signal %d; look for "
                    "a lack of memory in the kernel's log",
                    what, WTERMSIG(status));
    if (fd_read_exactly(error_fd, &theirs, sizeof(theirs)) < 0 || theirs.code <= ERROR_NONE ||
        theirs.code >= _ERROR_CODES || theirs.errnum <= 0)
        return fail(err, ERROR_SYSTEM, EIO, "unpack %.200s: the unpacking process failed",
                    what);
    theirs.text[sizeof(theirs.text) - 1] = '\0';
    if (err)
        *err = theirs;
    return -theirs.errnum;
}

void image_child_kill(struct image_child *child)
{
    if (child->pid > 0) {
        (void)kill(child->pid, SIGKILL);
        while (waitpid(child->pid, NULL, 0) < 0 && errno == EINTR)
            ;
    }
    child->pid = 0;
    child->error_fd = fd_close(child->error_fd);
}
