/* SPDX-License-Identifier: Apache-2.0 */
/* The confinement of the unpacking process. Runs once, in the child that image_extract has
 * forked, as root, before the first byte of the archive is read. */
#include "image/tar.h"
#include "sys/caps.h"

#include <fcntl.h>
#include <iconv.h>
#include <langinfo.h>
#include <linux/capability.h>
#include <locale.h>
#include <seccomp.h>
#include <signal.h>
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
static int reduce_capabilities(void)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[2] = {{0}};
    if (syscall(SYS_capget, &header, data) < 0)
        return -errno;
    uint64_t permitted = data[0].permitted | (uint64_t)data[1].permitted << 32;
    return caps_set(permitted & CAPABILITIES);
}

static void close_all_but(int a, int b)
{
    unsigned low = (unsigned)(a < b ? a : b);
    unsigned high = (unsigned)(a < b ? b : a);
    if (low > 3)
        (void)close_range(3, low - 1, 0);
    if (high > low + 1)
        (void)close_range(low + 1, high - 1, 0);
    (void)close_range(high + 1, ~0U, 0);
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

#define OPEN_TREE_ATTR 467 /* which libseccomp 2.5 does not know */

static int forbid(scmp_filter_ctx filter)
{
    static const int calls[] = {
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
    };
    static const int mappings[] = {SCMP_SYS(mmap), SCMP_SYS(mmap2), SCMP_SYS(mprotect),
                                   SCMP_SYS(pkey_mprotect)};
    for (size_t i = 0; i < ELEMENTS(calls); i++) {
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), calls[i], 0);
        if (r < 0)
            return r;
    }
    for (size_t i = 0; i < ELEMENTS(mappings); i++) {
        int r = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), mappings[i], 1,
                                 SCMP_A2(SCMP_CMP_MASKED_EQ, PROT_EXEC, PROT_EXEC));
        if (r < 0)
            return r;
    }
    return seccomp_load(filter);
}

int tar_confine(int archive_fd, int error_fd, int root_fd, int *ret_root, struct error *err)
{
    prepare_names();
    (void)umask(0);
    /* the parent is what a person ends; without it nobody would hear of the outcome */
    if (prctl(PR_SET_PDEATHSIG, SIGKILL) < 0 || prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "confine the unpacking process: prctl: ");
    if (fchdir(root_fd) < 0 || chroot(".") < 0)
        return fail(err, ERROR_SYSTEM, errno, "confine the unpacking process: chroot: ");
    close_all_but(archive_fd, error_fd);
    _cleanup_close_ int root = open("/", O_RDONLY | O_DIRECTORY | O_CLOEXEC);
    if (root < 0)
        return fail(err, ERROR_SYSTEM, errno, "open the target: ");
    int r = reduce_capabilities();
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "confine the unpacking process: capabilities: ");
    scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
    r = filter ? forbid(filter) : -ENOMEM;
    if (filter)
        seccomp_release(filter);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "confine the unpacking process: seccomp: ");
    *ret_root = TAKE_FD(root);
    return 0;
}
