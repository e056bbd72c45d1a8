/* SPDX-License-Identifier: Apache-2.0 */
/* User namespaces. Runs in isolated as root; the maps are computed by isolated. */
#include "sys/userns.h"

#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <linux/nsfs.h>
#include <linux/sched.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

static int map_write(pid_t pid, const char *file, const struct id_map *map, size_t n)
{
    char path[64];
    _cleanup_buffer_ struct buffer text = {0};
    for (size_t i = 0; i < n; i++)
        buffer_printf(&text, "%u %u %u\n", map[i].inside, map[i].outside, map[i].count);
    if (text.failed || n == 0 || n > ID_MAP_MAX)
        return text.failed ? -ENOMEM : -EINVAL;
    (void)snprintf(path, sizeof(path), "/proc/%d/%s", (int)pid, file);
    return file_write_at(AT_FDCWD, path, text.data);
}

int userns_write_maps(pid_t pid, const struct id_map *uids, size_t n_uids,
                      const struct id_map *gids, size_t n_gids)
{
    int r = map_write(pid, "uid_map", uids, n_uids);
    return r < 0 ? r : map_write(pid, "gid_map", gids, n_gids);
}

int userns_open(pid_t pid)
{
    char path[64];
    (void)snprintf(path, sizeof(path), "/proc/%d/ns/user", (int)pid);
    int fd = open(path, O_RDONLY | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

static int is_ours(int userns_fd)
{
    struct stat ours;
    struct stat st;
    if (stat("/proc/self/ns/user", &ours) < 0 || fstat(userns_fd, &st) < 0)
        return -errno;
    return st.st_ino == ours.st_ino && st.st_dev == ours.st_dev;
}

int userns_owner(int userns_fd, uid_t *ret)
{
    uid_t owner = 0;
    bool found = false;
    _cleanup_close_ int fd = fcntl(userns_fd, F_DUPFD_CLOEXEC, 3);
    for (int r = is_ours(fd); r != 1; r = is_ours(fd)) {
        if (r < 0 || ioctl(fd, NS_GET_OWNER_UID, &owner) < 0)
            return r < 0 ? r : -errno;
        found = true;
        int parent = ioctl(fd, NS_GET_PARENT);
        if (parent < 0)
            return errno == EPERM ? 0 : -errno;
        fd_close(fd);
        fd = parent;
    }
    if (found)
        *ret = owner;
    return found;
}

/* What a change of the effective uid takes away, beside effective capabilities. */
struct kept {
    uint64_t effective;
    int dumpable;
    int death_signal;
};

static int become_owner(uint32_t owner, struct kept *ret)
{
    *ret = (struct kept){.dumpable = prctl(PR_GET_DUMPABLE)};
    int r = caps_effective(&ret->effective);
    if (r < 0 || prctl(PR_GET_PDEATHSIG, &ret->death_signal) < 0)
        return r < 0 ? r : -errno;
    if (syscall(SYS_setresuid, -1, owner, -1) < 0)
        return -errno;
    return caps_set_effective(ret->effective);
}

static void become_root(const struct kept *kept)
{
    if (geteuid() != 0 && syscall(SYS_setresuid, -1, 0, -1) < 0)
        abort(); /* what came next would be somebody else's */
    if (caps_set_effective(kept->effective) < 0)
        abort();
    (void)prctl(PR_SET_PDEATHSIG, kept->death_signal);
    (void)prctl(PR_SET_DUMPABLE, kept->dumpable == 1);
}

pid_t userns_clone(uint64_t flags, uint32_t owner, int cgroup_fd, int *ret_pidfd)
{
    struct kept kept;
    int r = become_owner(owner, &kept);
    pid_t pid = r < 0 ? r : process_clone(flags | CLONE_NEWUSER, cgroup_fd, ret_pidfd);
    if (pid == 0)
        return 0;
    become_root(&kept);
    return pid;
}

int userns_get_limit(pid_t pid, uint32_t owner, uint32_t resource, struct rlimit *ret)
{
    struct kept kept;
    if (prlimit(pid, resource, NULL, ret) == 0)
        return 0;
    if (errno != EPERM)
        return -errno;
    int r = become_owner(owner, &kept);
    if (r == 0 && prlimit(pid, resource, NULL, ret) < 0)
        r = -errno;
    become_root(&kept);
    return r;
}

int userns_new_by(int (*map)(pid_t pid, void *data), void *data)
{
    _cleanup_close_ int pidfd = -EBADF;
    /* CLONE_VM|CLONE_VFORK would be cheaper but stops the parent until the child ends */
    pid_t parent = getpid();
    pid_t pid = process_clone(CLONE_NEWUSER, -EBADF, &pidfd);
    if (pid < 0)
        return pid;
    if (pid == 0) {
        /* it has no record: it must not outlive us */
        if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || getppid() != parent)
            _exit(1);
        for (;;)
            (void)syscall(SYS_pause);
    }
    int fd = map(pid, data);
    if (fd == 0)
        fd = userns_open(pid);
    if (pidfd_signal(pidfd, SIGKILL) == 0)
        (void)waitpid(pid, NULL, __WALL);
    return fd;
}

struct maps {
    const struct id_map *uids;
    size_t n_uids;
    const struct id_map *gids;
    size_t n_gids;
};

static int write_maps(pid_t pid, void *data)
{
    const struct maps *maps = data;
    return userns_write_maps(pid, maps->uids, maps->n_uids, maps->gids, maps->n_gids);
}

int userns_new(const struct id_map *uids, size_t n_uids, const struct id_map *gids,
               size_t n_gids)
{
    struct maps maps = {uids, n_uids, gids, n_gids};
    return userns_new_by(write_maps, &maps);
}
