/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 15: new namespaces, in which a process has every capability again and the kernel's
 * least tested code is in reach, by every call that makes one, and the new mount calls. */
#include "attempt.h"

#include <linux/mount.h>
#include <linux/sched.h>
#include <sched.h>
#include <sys/mount.h>

#ifndef SYS_open_tree_attr
#define SYS_open_tree_attr 467
#endif

static long by_unshare(const void *data)
{
    return syscall(SYS_unshare, *(const unsigned long *)data);
}

static long finish_clone(long pid)
{
    if (pid == 0)
        _exit(0);
    if (pid > 0)
        (void)waitpid((pid_t)pid, NULL, __WALL);
    return pid;
}

static long by_clone(const void *data)
{
    return finish_clone(syscall(SYS_clone, *(const unsigned long *)data | SIGCHLD, 0, 0, 0, 0));
}

static long by_clone3(const void *data)
{
    struct clone_args args = {.flags = *(const unsigned long *)data, .exit_signal = SIGCHLD};
    return finish_clone(syscall(SYS_clone3, &args, sizeof(args)));
}

static long call_setns(void)
{
    int fd = open("/proc/self/ns/uts", O_RDONLY);
    return fd < 0 ? -1 : setns(fd, 0);
}

static long call_fsopen(void)
{
    return syscall(SYS_fsopen, "tmpfs", 0);
}

static long call_fspick(void)
{
    return syscall(SYS_fspick, AT_FDCWD, "/", 0);
}

static long call_open_tree(void)
{
    return syscall(SYS_open_tree, AT_FDCWD, "/", OPEN_TREE_CLONE);
}

static long call_open_tree_attr(void)
{
    struct mount_attr attr = {.attr_clr = MOUNT_ATTR_RDONLY};
    return syscall(SYS_open_tree_attr, AT_FDCWD, "/", OPEN_TREE_CLONE, &attr, sizeof(attr));
}

/* These need what fsopen and open_tree would have given: the control makes it. */
static int new_tmpfs(void)
{
    int context = (int)syscall(SYS_fsopen, "tmpfs", 0);
    if (context < 0)
        return -1;
    if (syscall(SYS_fsconfig, context, FSCONFIG_CMD_CREATE, NULL, NULL, 0) < 0)
        return -1;
    return context;
}

static long call_fsconfig(void)
{
    int context = new_tmpfs();
    return context >= 0 ? 0 : syscall(SYS_fsconfig, 0, FSCONFIG_CMD_CREATE, NULL, NULL, 0);
}

static long call_fsmount(void)
{
    return syscall(SYS_fsmount, new_tmpfs(), 0, 0);
}

static long call_move_mount(void)
{
    long mount = syscall(SYS_fsmount, new_tmpfs(), 0, 0);
    return syscall(SYS_move_mount, mount, "", AT_FDCWD, "/tmp", MOVE_MOUNT_F_EMPTY_PATH);
}

static long call_mount_setattr(void)
{
    struct mount_attr attr = {.attr_clr = MOUNT_ATTR_NOSUID};
    return syscall(SYS_mount_setattr, AT_FDCWD, "/", 0, &attr, sizeof(attr));
}

static long call_pivot_root(void)
{
    if (mount("/tmp", "/tmp", NULL, MS_BIND, NULL) == 0)
        (void)!chdir("/tmp");
    return syscall(SYS_pivot_root, ".", ".");
}

int main(void)
{
    static const struct {
        const char *name;
        unsigned long flag;
    } kinds[] = {
        {"user", CLONE_NEWUSER},     {"mount", CLONE_NEWNS}, {"pid", CLONE_NEWPID},
        {"net", CLONE_NEWNET},       {"uts", CLONE_NEWUTS},  {"ipc", CLONE_NEWIPC},
        {"cgroup", CLONE_NEWCGROUP},
    };
    char name[64];
    for (size_t i = 0; i < sizeof(kinds) / sizeof(kinds[0]); i++) {
        const unsigned long hidden = HIGH(kinds[i].flag);
        (void)snprintf(name, sizeof(name), "unshare_%s", kinds[i].name);
        attempt_with(name, by_unshare, &kinds[i].flag);
        (void)snprintf(name, sizeof(name), "clone_%s", kinds[i].name);
        attempt_with(name, by_clone, &kinds[i].flag);
        (void)snprintf(name, sizeof(name), "clone_high_bits_%s", kinds[i].name);
        attempt_with(name, by_clone, &hidden);
        (void)snprintf(name, sizeof(name), "clone3_%s", kinds[i].name);
        attempt_with(name, by_clone3, &kinds[i].flag);
    }
    const unsigned long time = CLONE_NEWTIME;
    attempt_with("unshare_time", by_unshare, &time);
    attempt_with("clone3_time", by_clone3, &time);
    attempt("setns", call_setns);
    attempt("fsopen", call_fsopen);
    attempt("fsconfig", call_fsconfig);
    attempt("fsmount", call_fsmount);
    attempt("fspick", call_fspick);
    attempt("open_tree", call_open_tree);
    attempt("open_tree_attr", call_open_tree_attr);
    attempt("move_mount", call_move_mount);
    attempt("mount_setattr", call_mount_setattr);
    attempt("pivot_root", call_pivot_root);
    return 0;
}
