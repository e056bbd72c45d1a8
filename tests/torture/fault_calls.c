/* SPDX-License-Identifier: Apache-2.0 */
/* The calls that can fail, by their manual pages, and the registers of a process in one. */
#include "fault.h"

#include <elf.h>
#include <errno.h>
#include <fcntl.h>
#include <stddef.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <sys/user.h>

enum { MEMORY = 1, FILES = 2, SPACE = 4, IO = 8, SIGNAL = 16 };

static const struct fault_kind KINDS[] = {
    {"ENOMEM", ENOMEM, MEMORY}, {"EMFILE", EMFILE, FILES}, {"ENOSPC", ENOSPC, SPACE},
    {"EIO", EIO, IO},           {"EINTR", EINTR, SIGNAL},
};

#define CALL(name, kinds)                                                                      \
    {                                                                                          \
        SYS_##name, #name, kinds                                                               \
    }

/* SIGNAL: what is interrupted though no handler is installed, or whatever SA_RESTART says; see
 * signal(7). close(2) is not there: on Linux it has closed all the same. */
static const struct fault_call CALLS[] = {
    /* memory */
    CALL(brk, MEMORY),
    CALL(mmap, MEMORY | FILES),
    CALL(mremap, MEMORY),
    /* processes */
    CALL(clone, MEMORY | SPACE),
    CALL(clone3, MEMORY | FILES | SPACE),
    CALL(execve, MEMORY | FILES | IO),
    CALL(execveat, MEMORY | FILES | IO),
    CALL(unshare, MEMORY | SPACE),
    CALL(setns, MEMORY),
    CALL(pidfd_open, MEMORY | FILES),
    CALL(pidfd_getfd, FILES),
    CALL(setgroups, MEMORY),
    CALL(setresuid, MEMORY),
    CALL(setresgid, MEMORY),
    CALL(capset, MEMORY),
    CALL(seccomp, MEMORY),
    CALL(keyctl, MEMORY),
    CALL(bpf, MEMORY | FILES | SPACE),
    /* files */
    CALL(openat, MEMORY | FILES | SPACE | IO),
    CALL(openat2, MEMORY | FILES | SPACE | IO),
    CALL(close, IO),
    CALL(dup, FILES),
    CALL(fcntl, FILES),
    CALL(read, MEMORY | IO),
    CALL(pread64, MEMORY | IO),
    CALL(readv, MEMORY | IO),
    CALL(write, MEMORY | SPACE | IO),
    CALL(pwrite64, MEMORY | SPACE | IO),
    CALL(writev, MEMORY | SPACE | IO),
    CALL(pwritev, MEMORY | SPACE | IO),
    CALL(sendfile, MEMORY | SPACE | IO),
    CALL(copy_file_range, MEMORY | SPACE | IO),
    CALL(fallocate, SPACE | IO),
    CALL(ftruncate, SPACE | IO),
    CALL(fsync, SPACE | IO),
    CALL(fdatasync, SPACE | IO),
    CALL(syncfs, SPACE | IO),
    CALL(getdents64, MEMORY | IO),
    CALL(fstat, MEMORY | IO),
    CALL(newfstatat, MEMORY | IO),
    CALL(statx, MEMORY | IO),
    CALL(statfs, MEMORY | IO),
    CALL(fstatfs, MEMORY | IO),
    CALL(readlinkat, MEMORY | IO),
    CALL(faccessat, MEMORY | IO),
    CALL(faccessat2, MEMORY | IO),
    CALL(mkdirat, MEMORY | SPACE | IO),
    CALL(mknodat, MEMORY | SPACE | IO),
    CALL(symlinkat, MEMORY | SPACE | IO),
    CALL(linkat, MEMORY | SPACE | IO),
    CALL(renameat, MEMORY | SPACE | IO),
    CALL(renameat2, MEMORY | SPACE | IO),
    CALL(unlinkat, MEMORY | IO),
    CALL(fchmod, MEMORY | IO),
    CALL(fchmodat, MEMORY | IO),
    CALL(fchown, MEMORY | IO),
    CALL(fchownat, MEMORY | IO),
    CALL(utimensat, MEMORY | IO),
    CALL(fsetxattr, MEMORY | SPACE | IO),
    CALL(setxattr, MEMORY | SPACE | IO),
    CALL(lsetxattr, MEMORY | SPACE | IO),
    CALL(fgetxattr, MEMORY | IO),
    CALL(lgetxattr, MEMORY | IO),
    CALL(flistxattr, MEMORY | IO),
    CALL(llistxattr, MEMORY | IO),
    CALL(ioctl, MEMORY | SPACE | IO),
    CALL(flock, MEMORY),
    CALL(chdir, MEMORY | IO),
    CALL(fchdir, IO),
    CALL(chroot, MEMORY | IO),
    CALL(memfd_create, MEMORY | FILES),
    /* mounts: there is a largest number of them, which is ENOSPC */
    CALL(mount, MEMORY | SPACE | IO),
    CALL(umount2, MEMORY),
    CALL(pivot_root, MEMORY),
    CALL(open_tree, MEMORY | FILES | SPACE),
    CALL(move_mount, MEMORY | SPACE),
    CALL(fsopen, MEMORY | FILES),
    CALL(fspick, MEMORY | FILES),
    CALL(fsconfig, MEMORY | SPACE | IO),
    CALL(fsmount, MEMORY | FILES),
    CALL(mount_setattr, MEMORY),
    /* what is waited with, and for */
    CALL(pipe2, FILES),
    CALL(epoll_create1, MEMORY | FILES),
    CALL(epoll_ctl, MEMORY | SPACE),
    CALL(epoll_pwait, SIGNAL),
    CALL(ppoll, MEMORY | SIGNAL),
    CALL(pselect6, MEMORY | SIGNAL),
    CALL(clock_nanosleep, SIGNAL),
    CALL(nanosleep, SIGNAL),
    CALL(eventfd2, MEMORY | FILES),
    CALL(signalfd4, MEMORY | FILES),
    CALL(timerfd_create, MEMORY | FILES),
    CALL(inotify_init1, MEMORY | FILES),
    CALL(inotify_add_watch, MEMORY | SPACE),
    /* sockets */
    CALL(socket, MEMORY | FILES),
    CALL(socketpair, MEMORY | FILES),
    CALL(bind, MEMORY | SPACE | IO),
    CALL(connect, MEMORY),
    CALL(accept4, MEMORY | FILES),
    CALL(sendto, MEMORY),
    CALL(sendmsg, MEMORY),
    CALL(recvfrom, MEMORY),
    CALL(recvmsg, MEMORY),
    CALL(getsockopt, MEMORY),
    CALL(setsockopt, MEMORY),
#ifdef __x86_64__
    /* the same by their older names */
    CALL(open, MEMORY | FILES | SPACE | IO),
    CALL(stat, MEMORY | IO),
    CALL(lstat, MEMORY | IO),
    CALL(readlink, MEMORY | IO),
    CALL(access, MEMORY | IO),
    CALL(mkdir, MEMORY | SPACE | IO),
    CALL(rmdir, MEMORY | IO),
    CALL(unlink, MEMORY | IO),
    CALL(rename, MEMORY | SPACE | IO),
    CALL(symlink, MEMORY | SPACE | IO),
    CALL(chmod, MEMORY | IO),
    CALL(chown, MEMORY | IO),
    CALL(lchown, MEMORY | IO),
    CALL(fork, MEMORY),
    CALL(vfork, MEMORY),
    CALL(pipe, FILES),
    CALL(poll, MEMORY | SIGNAL),
    CALL(select, MEMORY | SIGNAL),
    CALL(epoll_wait, SIGNAL),
#endif
};

const struct fault_kind *fault_find_kind(const char *name)
{
    for (unsigned i = 0; i < sizeof(KINDS) / sizeof(KINDS[0]); i++)
        if (strcmp(KINDS[i].name, name) == 0)
            return &KINDS[i];
    return NULL;
}

/* Whether these arguments can fail so: only some of what fcntl and epoll_ctl do makes
 * something, only files that have to be made run out of space. */
static bool arguments_fail(const struct __ptrace_syscall_info *info, unsigned kind)
{
    unsigned long long first = info->entry.args[0], second = info->entry.args[1];
    if (info->entry.nr == SYS_fcntl)
        return second == F_DUPFD || second == F_DUPFD_CLOEXEC;
    if (info->entry.nr == SYS_brk)
        return first != 0;
    if (info->entry.nr == SYS_epoll_ctl)
        return second == EPOLL_CTL_ADD;
    if (info->entry.nr == SYS_mmap)
        return kind == MEMORY;
    if (kind == SPACE && info->entry.nr == SYS_openat)
        return (info->entry.args[2] & O_CREAT) != 0;
    return true;
}

const struct fault_call *fault_find_call(const struct __ptrace_syscall_info *info,
                                         const struct fault_kind *kind)
{
    for (unsigned i = 0; i < sizeof(CALLS) / sizeof(CALLS[0]); i++)
        if (CALLS[i].number == (long)info->entry.nr)
            return (CALLS[i].kinds & kind->bit) && arguments_fail(info, kind->bit) ? &CALLS[i]
                                                                                   : NULL;
    return NULL;
}

#if defined(__x86_64__)

static void set_register(pid_t pid, size_t offset, unsigned long value)
{
    (void)ptrace(PTRACE_POKEUSER, pid, offset, value);
}

void fault_set_call(pid_t pid, long number)
{
    set_register(pid, offsetof(struct user_regs_struct, orig_rax), (unsigned long)number);
}

void fault_set_first_argument(pid_t pid, unsigned long value)
{
    set_register(pid, offsetof(struct user_regs_struct, rdi), value);
}

void fault_restore_first_argument(pid_t pid, unsigned long value)
{
    fault_set_first_argument(pid, value);
}

void fault_set_result(pid_t pid, long value)
{
    set_register(pid, offsetof(struct user_regs_struct, rax), (unsigned long)value);
}

#elif defined(__aarch64__)

static void set_first_register(pid_t pid, unsigned long value)
{
    struct user_regs_struct registers;
    struct iovec all = {&registers, sizeof(registers)};
    if (ptrace(PTRACE_GETREGSET, pid, NT_PRSTATUS, &all) < 0)
        return;
    registers.regs[0] = value;
    (void)ptrace(PTRACE_SETREGSET, pid, NT_PRSTATUS, &all);
}

void fault_set_call(pid_t pid, long number)
{
    int call = (int)number;
    struct iovec all = {&call, sizeof(call)};
    (void)ptrace(PTRACE_SETREGSET, pid, NT_ARM_SYSTEM_CALL, &all);
}

void fault_set_first_argument(pid_t pid, unsigned long value)
{
    set_first_register(pid, value);
}

void fault_restore_first_argument(pid_t pid, unsigned long value)
{
    (void)pid;
    (void)value;
}

void fault_set_result(pid_t pid, long value)
{
    set_first_register(pid, (unsigned long)value);
}

#else
#error "a process's registers are known for x86_64 and aarch64"
#endif
