/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 10: descriptors that leaked into the sandbox. Says which this process began with, and
 * tries to see those, and the rest, of pid 1. */
#include "attempt.h"

#include <dirent.h>

static long list(const void *data)
{
    DIR *dir = opendir(data);
    long n = 0;
    if (!dir)
        return -1;
    for (const struct dirent *entry = readdir(dir); entry; entry = readdir(dir))
        n += entry->d_name[0] != '.';
    return n > 0 ? 0 : fail_with(ENODATA);
}

static long open_any(const void *data)
{
    char path[64];
    for (int fd = 0; fd < 64; fd++) {
        (void)snprintf(path, sizeof(path), "%s/%d", (const char *)data, fd);
        if (open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK) >= 0)
            return 0;
    }
    return -1;
}

static long read_it(const void *data)
{
    return read_something(data);
}

static long enter(const void *data)
{
    return chdir(data);
}

/* Whether anything but 0, 1 and 2 is open. */
static long extra_fds(void)
{
    for (int fd = 3; fd < 1024; fd++)
        if (fcntl(fd, F_GETFD) >= 0)
            return 0;
    return fail_with(EBADF);
}

static int check_all_processes(void)
{
    DIR *proc = opendir("/proc");
    char path[300];
    if (!proc)
        return 1;
    for (const struct dirent *entry = readdir(proc); entry; entry = readdir(proc)) {
        int pid = atoi(entry->d_name);
        if (pid <= 0 || pid == getpid() || pid == getppid())
            continue;
        (void)snprintf(path, sizeof(path), "/proc/%d/fd", pid);
        attempt_with("other_process_fd_list", list, path);
    }
    return 0;
}

int main(void)
{
    attempt("extra_fds", extra_fds);
    attempt_with("pid1_fd_list", list, "/proc/1/fd");
    attempt_with("pid1_fdinfo_list", list, "/proc/1/fdinfo");
    attempt_with("pid1_fd_open", open_any, "/proc/1/fd");
    attempt_with("pid1_environ", read_it, "/proc/1/environ");
    attempt_with("pid1_maps", read_it, "/proc/1/maps");
    attempt_with("pid1_auxv", read_it, "/proc/1/auxv");
    attempt_with("pid1_cwd", enter, "/proc/1/cwd");
    attempt_with("pid1_root", enter, "/proc/1/root");
    return check_all_processes();
}
