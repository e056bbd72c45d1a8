/* SPDX-License-Identifier: Apache-2.0 */
/* Starting pasta. It opens the published ports in the machine's network, then joins the
 * sandbox's user namespace for good: until then it has CAP_SYS_ADMIN, without which that is
 * closed to it, and no input of anybody's. From then on it has rights within the sandbox's
 * namespaces, an id that nobody on the machine has, and sockets. */
#include "network/network.h"

#include "base/text.h"
#include "sys/caps.h"
#include "sys/process.h"
#include "sys/scope.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

#define ARGUMENTS_MAX 4096

static int become(uint32_t uid)
{
    return syscall(SYS_setgroups, 0, NULL) < 0 || syscall(SYS_setresgid, uid, uid, uid) < 0 ||
                   syscall(SYS_setresuid, uid, uid, uid) < 0
               ? -errno
               : 0;
}

/* Capabilities that survive a change of ids and an exec. */
static int become_with(uint32_t uid, uint64_t capabilities)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    const uint32_t low = (uint32_t)capabilities;
    const struct __user_cap_data_struct data[2] = {
        {.effective = low, .permitted = low, .inheritable = low}};
    if (prctl(PR_SET_KEEPCAPS, 1, 0, 0, 0) < 0)
        return -errno;
    int r = become(uid);
    if (r == 0 && syscall(SYS_capset, &header, data) < 0)
        r = -errno;
    for (unsigned i = 0; r == 0 && i < 32; i++)
        if ((capabilities & CAP_BIT(i)) &&
            prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_RAISE, i, 0, 0) < 0)
            r = -errno;
    return r;
}

static size_t split(const char *arguments, size_t length, char **ret)
{
    size_t n = 0;
    for (const char *at = arguments; at < arguments + length && n < ARGUMENTS_MAX;
         at += strlen(at) + 1)
        ret[n++] = (char *)at;
    ret[n] = NULL;
    return n;
}

static _Noreturn void child(const struct network_order *order, char *const *argv, int stderr_fd)
{
    struct error err;
    const struct rlimit none = {0, 0};
    char *const environment[] = {(char *)"LC_ALL=C.UTF-8", NULL};
    uint64_t capabilities = CAP_BIT(CAP_SYS_ADMIN);
    if (order->flags & NETWORK_LOW_PORTS)
        capabilities |= CAP_BIT(CAP_NET_BIND_SERVICE);
    int null_fd = open("/dev/null", O_RDWR);
    if (null_fd < 0 || dup2(null_fd, 0) < 0 || dup2(null_fd, 1) < 0 || dup2(stderr_fd, 2) < 0 ||
        close_from(3) < 0)
        _exit(1);
    (void)signal(SIGPIPE, SIG_DFL);
    if (scope_sockets(&err) < 0 || caps_bound(capabilities) < 0 ||
        setrlimit(RLIMIT_CORE, &none) < 0 || become_with(order->uid, capabilities) < 0)
        _exit(1);
    (void)execve(NETWORK_PASTA, argv, environment);
    static const char failed[] = "cannot execute " NETWORK_PASTA "\n";
    (void)!write(2, failed, sizeof(failed) - 1);
    _exit(1);
}

int pasta_start(const struct network_order *order, const char *arguments, size_t length,
                struct pasta *ret, struct error *err)
{
    static char *argv[ARGUMENTS_MAX + 1];
    int pipe_fds[2];
    split(arguments, length, argv);
    _cleanup_close_ int ready = open(NETWORK_PATH_READY, O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (ready < 0 || pipe2(pipe_fds, O_CLOEXEC) < 0)
        return fail(err, ERROR_SYSTEM, errno, "network nat: its pipes to pasta: ");
    _cleanup_close_ int ours = pipe_fds[0];
    _cleanup_close_ int theirs = pipe_fds[1];
    if (fcntl(ours, F_SETFL, O_NONBLOCK) < 0)
        return fail(err, ERROR_SYSTEM, errno, "network nat: its pipes to pasta: ");
    pid_t pid = process_clone(0, -EBADF, &ret->pidfd);
    if (pid == 0)
        child(order, argv, theirs);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, pid, "network: start pasta: ");
    ret->pid = pid;
    ret->stderr_fd = TAKE_FD(ours);
    ret->ready_fd = TAKE_FD(ready);
    return 0;
}

int network_drop(const struct network_order *order, struct error *err)
{
    int r = caps_bound(0);
    if (r == 0)
        r = become(order->uid);
    if (r == 0)
        r = caps_set(0);
    if (r == 0 && prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        r = -errno;
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "network: give up rights: ") : 0;
}
