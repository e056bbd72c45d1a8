/* SPDX-License-Identifier: Apache-2.0 */
/* The parent's side of unpacking a tar archive. Runs in isolate-image as root; everything
 * hostile is read in the child, whose only word is one error object. */
#include "image/tar.h"

#include "image/image.h"
#include "image/progress.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <string.h>
#include <sys/wait.h>

/* How the child ends: the error object goes up the pipe, empty where all went well. */
static void unpack_in_child(int archive_fd, const char *what, int target_fd, int error_fd,
                            struct progress *progress)
{
    struct error err = {0};
    int root = -EBADF;
    if (progress)
        progress->draws = false;
    int r = tar_confine(archive_fd, error_fd, target_fd, &root, &err);
    if (r == 0)
        r = tar_read(archive_fd, what, root, progress, &err);
    int sent = fd_write_all(error_fd, &err, sizeof(err));
    _exit(r < 0 || sent < 0 ? 1 : 0);
}

static int wait_for_child(pid_t pid, int *ret_status, struct progress *progress)
{
    _cleanup_close_ int pidfd = pidfd_open_pid(pid);
    while (pidfd >= 0 && pidfd_wait(pidfd, 200) == 0)
        progress_tick(progress);
    while (waitpid(pid, ret_status, 0) < 0)
        if (errno != EINTR)
            return -errno;
    return 0;
}

int image_extract(int archive_fd, const char *what, int target_fd, struct progress *progress,
                  struct error *err)
{
    int ends[2];
    struct error theirs = {0};
    int status = 0;
    if (pipe2(ends, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "unpack %.200s: ", what);
    _cleanup_close_ int from_child = ends[0];
    _cleanup_close_ int to_parent = ends[1];
    pid_t pid = fork();
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, errno, "unpack %.200s: fork: ", what);
    if (pid == 0)
        unpack_in_child(archive_fd, what, target_fd, to_parent, progress);
    fd_closep(&to_parent);
    int r = wait_for_child(pid, &status, progress);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "unpack %.200s: wait: ", what);
    if (fd_read_exactly(from_child, &theirs, sizeof(theirs)) < 0) {
        if (WIFSIGNALED(status))
            return fail(err, ERROR_SYSTEM, EIO,
                        "unpack %.200s: the unpacking process was ended by signal %d; look for "
                        "a lack of memory in the kernel's log",
                        what, WTERMSIG(status));
        return fail(err, ERROR_SYSTEM, EIO, "unpack %.200s: the unpacking process failed",
                    what);
    }
    theirs.text[sizeof(theirs.text) - 1] = '\0';
    if (WIFEXITED(status) && WEXITSTATUS(status) == 0)
        return 0;
    if (theirs.code <= ERROR_NONE || theirs.code >= _ERROR_CODES || theirs.errnum <= 0)
        return fail(err, ERROR_SYSTEM, EIO, "unpack %.200s: the unpacking process failed",
                    what);
    if (err)
        *err = theirs;
    return -theirs.errnum;
}
