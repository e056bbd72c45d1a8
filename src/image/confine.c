/* SPDX-License-Identifier: Apache-2.0 */
/* The confinement of children of isolate-image. Runs once in each, as root, before the first
 * byte of what is hostile is read. */
#include "image/confine.h"

#include "sys/caps.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <iconv.h>
#include <langinfo.h>
#include <linux/capability.h>
#include <linux/fs.h>
#include <locale.h>
#include <seccomp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>

#define CAPABILITIES                                                                           \
    (CAP_BIT(CAP_CHOWN) | CAP_BIT(CAP_DAC_OVERRIDE) | CAP_BIT(CAP_DAC_READ_SEARCH) |           \
     CAP_BIT(CAP_FOWNER) | CAP_BIT(CAP_FSETID) | CAP_BIT(CAP_MKNOD) | CAP_BIT(CAP_SETFCAP) |   \
     CAP_BIT(CAP_SYS_ADMIN) /* trusted.* */ | CAP_BIT(CAP_SYS_RESOURCE) /* reserved blocks */)

/* Those of CAPABILITIES that this process has: a container may lack some. Nothing is executed
 * later, so the bounding set does not matter. */
static int reduce_capabilities(uint64_t wanted)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return caps_set(permitted & wanted);
}

#define KEEP_MAX 4

static int compare_fds(const void *a, const void *b)
{
    return *(const int *)a - *(const int *)b;
}

static void close_all_but(const int *keep, size_t n_keep)
{
    int fds[KEEP_MAX];
    unsigned next = 3;
    memcpy(fds, keep, n_keep * sizeof(*fds));
    qsort(fds, n_keep, sizeof(*fds), compare_fds);
    for (size_t i = 0; i < n_keep; i++) {
        if ((unsigned)fds[i] > next)
            (void)close_range(next, (unsigned)fds[i] - 1, 0);
        next = (unsigned)fds[i] + 1;
    }
    (void)close_range(next, ~0U, 0);
}

/* Names are bytes. libarchive converts those in pax headers from UTF-8 to the locale's
 * character set and, if that is UTF-8, composes them (NFC), which makes them other names. In
 * the locale "C" the conversion of anything but ASCII fails, and then it keeps the bytes as
 * they are, with a warning. libc reads its tables of character sets when they are first needed,
 * and they name shared objects: that happens here, before "/" is the archive's. */
static void prepare_names(void)
{
    (void)setlocale(LC_ALL, "C");
    iconv_t conversion = iconv_open(nl_langinfo(CODESET), "UTF-8");
    if (conversion != (iconv_t)-1)
        (void)iconv_close(conversion);
    conversion = iconv_open("UTF-8", nl_langinfo(CODESET));
    if (conversion != (iconv_t)-1)
        (void)iconv_close(conversion);
}

/* which libseccomp 2.5 may not know */
#define QUOTACTL_FD    443
#define FCHMODAT2      452
#define SETXATTRAT     463
#define REMOVEXATTRAT  466
#define OPEN_TREE_ATTR 467
#define FILE_SETATTR   469

static int forbid_calls(scmp_filter_ctx filter, const int *calls, size_t n)
{
    int r = 0;
    for (size_t i = 0; r == 0 && i < n; i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
    return r;
}

static const int forbidden[] = {
    SCMP_SYS(execve),
    SCMP_SYS(execveat),
    SCMP_SYS(fork),
    SCMP_SYS(vfork),
    SCMP_SYS(clone),
    SCMP_SYS(clone3),
    SCMP_SYS(chroot),
    SCMP_SYS(pivot_root),
    SCMP_SYS(mount),
    SCMP_SYS(umount2),
    SCMP_SYS(move_mount),
    SCMP_SYS(open_tree),
    SCMP_SYS(fsopen),
    SCMP_SYS(fsmount),
    SCMP_SYS(fspick),
    SCMP_SYS(mount_setattr),
    OPEN_TREE_ATTR,
    SCMP_SYS(setns),
    SCMP_SYS(unshare),
    SCMP_SYS(socket),
    SCMP_SYS(connect),
    SCMP_SYS(ptrace),
    SCMP_SYS(process_vm_readv),
    SCMP_SYS(process_vm_writev),
    SCMP_SYS(pidfd_getfd),
    SCMP_SYS(bpf),
    SCMP_SYS(kill),
    SCMP_SYS(tgkill),
    SCMP_SYS(pidfd_open),
    SCMP_SYS(swapon),
    SCMP_SYS(swapoff),
    SCMP_SYS(quotactl),
    SCMP_SYS(io_uring_setup),
    SCMP_SYS(perf_event_open),
    SCMP_SYS(open_by_handle_at),
    SCMP_SYS(name_to_handle_at),
    SCMP_SYS(fsconfig),
    SCMP_SYS(fanotify_init),
    SCMP_SYS(shmget),
    SCMP_SYS(shmat),
    SCMP_SYS(shmctl),
    SCMP_SYS(msgget),
    SCMP_SYS(msgsnd),
    SCMP_SYS(msgrcv),
    SCMP_SYS(msgctl),
    SCMP_SYS(semget),
    SCMP_SYS(semop),
    SCMP_SYS(semtimedop),
    SCMP_SYS(semctl),
    SCMP_SYS(mq_open),
    SCMP_SYS(mq_unlink),
    SCMP_SYS(socketpair),
    SCMP_SYS(keyctl),
    SCMP_SYS(add_key),
    SCMP_SYS(request_key),
    SCMP_SYS(userfaultfd),
    SCMP_SYS(sethostname),
    SCMP_SYS(setdomainname),
    QUOTACTL_FD,
};

/* by name, in a tree or about one */
static const int of_files[] = {
    SCMP_SYS(open),
    SCMP_SYS(openat),
    SCMP_SYS(openat2),
    SCMP_SYS(creat),
    SCMP_SYS(truncate),
    SCMP_SYS(rename),
    SCMP_SYS(renameat),
    SCMP_SYS(renameat2),
    SCMP_SYS(link),
    SCMP_SYS(linkat),
    SCMP_SYS(symlink),
    SCMP_SYS(symlinkat),
    SCMP_SYS(unlink),
    SCMP_SYS(unlinkat),
    SCMP_SYS(mkdir),
    SCMP_SYS(mkdirat),
    SCMP_SYS(rmdir),
    SCMP_SYS(mknod),
    SCMP_SYS(mknodat),
    SCMP_SYS(chmod),
    SCMP_SYS(fchmodat),
    FCHMODAT2,
    SCMP_SYS(chown),
    SCMP_SYS(lchown),
    SCMP_SYS(fchownat),
    SCMP_SYS(utime),
    SCMP_SYS(utimes),
    SCMP_SYS(utimensat),
    SCMP_SYS(futimesat),
    SCMP_SYS(setxattr),
    SCMP_SYS(lsetxattr),
    SCMP_SYS(removexattr),
    SCMP_SYS(lremovexattr),
    SETXATTRAT,
    REMOVEXATTRAT,
    FILE_SETATTR,
    SCMP_SYS(inotify_init),
    SCMP_SYS(inotify_init1),
    SCMP_SYS(inotify_add_watch),
};

static int forbid(scmp_filter_ctx filter, enum confine_rights rights)
{
    static const int mappings[] = {SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect),
                                   SCMP_SYS(pkey_mprotect)};
    int r = forbid_calls(filter, forbidden, ELEMENTS(forbidden));
    if (r == 0 && rights == CONFINE_STREAMS)
        r = forbid_calls(filter, of_files, ELEMENTS(of_files));
    /* with CAP_SYS_ADMIN those of a file system reach all of it: other subvolumes, by number */
    if (r == 0)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), SCMP_SYS(ioctl), 1,
                             SCMP_A1(SCMP_CMP_NE, FICLONERANGE, 0));
    for (size_t i = 0; r == 0 && i < ELEMENTS(mappings); i++)
        r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), mappings[i], 1,
                             SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
    return r < 0 ? r : seccomp_load(filter);
}

static int load_filter(enum confine_rights rights, struct error *err)
{
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    int r = filter ? forbid(filter, rights) : -ENOMEM;
    if (filter)
        seccomp_release(filter);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "confine the unpacking process: seccomp: ") : 0;
}

int confine_caller(struct error *err)
{
    prepare_names();
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "confine the unpacking process: prctl: ");
    return load_filter(CONFINE_WRITES_TREE, err);
}

int confine(enum confine_rights rights, const int *keep, size_t n_keep, int root_fd,
            int *ret_root, struct error *err)
{
    prepare_names();
    (void)umask(0);
    /* the parent is what a person ends; without it nobody would hear of the outcome */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "confine the unpacking process: prctl: ");
    if (fchdir(root_fd) < 0 || chroot(".") < 0)
        return fail(err, ERROR_SYSTEM, errno, "confine the unpacking process: chroot: ");
    if (n_keep > KEEP_MAX)
        return fail(err, ERROR_SYSTEM, E2BIG, "confine the unpacking process: fds: ");
    close_all_but(keep, n_keep);
    _cleanup_close_ int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fail(err, ERROR_SYSTEM, errno, "open the target: ");
    int r = reduce_capabilities(rights == CONFINE_WRITES_TREE ? CAPABILITIES : 0);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "confine the unpacking process: capabilities: ");
    r = load_filter(rights, err);
    if (r == 0 && ret_root)
        *ret_root = TAKE_FD(root);
    return r;
}
