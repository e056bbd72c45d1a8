/* SPDX-License-Identifier: Apache-2.0 */
/* Attack 17: parts of the kernel that a sandbox has no use for. Each call is one that works,
 * and changes nothing that lasts, where it is allowed. */
#include "attempt.h"

#include <linux/bpf.h>
#include <linux/io_uring.h>
#include <linux/keyctl.h>
#include <linux/perf_event.h>
#include <linux/userfaultfd.h>
#include <sys/io.h>
#include <sys/klog.h>
#include <sys/timex.h>

#define USER_MODE_ONLY 1

static long call_keyctl(void)
{
    return syscall(SYS_keyctl, KEYCTL_GET_KEYRING_ID, KEY_SPEC_PROCESS_KEYRING, 1);
}

static long call_keyctl_high(void)
{
    return syscall(SYS_keyctl, HIGH(KEYCTL_JOIN_SESSION_KEYRING), NULL);
}

static long call_add_key(void)
{
    return syscall(SYS_add_key, "user", "isolate-attack", "x", 1, KEY_SPEC_PROCESS_KEYRING);
}

static long call_request_key(void)
{
    if (syscall(SYS_add_key, "user", "isolate-attack", "x", 1, KEY_SPEC_PROCESS_KEYRING) < 0 &&
        errno != EPERM)
        return -1;
    return syscall(SYS_request_key, "user", "isolate-attack", NULL, 0);
}

static long call_io_uring(void)
{
    struct io_uring_params params = {0};
    return syscall(SYS_io_uring_setup, 1, &params);
}

static long call_io_uring_enter(void)
{
    struct io_uring_params params = {0};
    long ring = syscall(SYS_io_uring_setup, 1, &params);
    return syscall(SYS_io_uring_enter, ring < 0 ? 0 : ring, 0, 0, 0, NULL, 0);
}

static long call_io_uring_register(void)
{
    struct io_uring_params params = {0};
    long ring = syscall(SYS_io_uring_setup, 1, &params);
    return syscall(SYS_io_uring_register, ring < 0 ? 0 : ring, IORING_REGISTER_PERSONALITY,
                   NULL, 0);
}

static long call_bpf(void)
{
    union bpf_attr attr = {0};
    attr.map_type = BPF_MAP_TYPE_ARRAY;
    attr.key_size = attr.value_size = 4;
    attr.max_entries = 1;
    return syscall(SYS_bpf, BPF_MAP_CREATE, &attr, sizeof(attr));
}

static long call_perf(void)
{
    struct perf_event_attr attr = {
        .type = PERF_TYPE_SOFTWARE,
        .size = sizeof(attr),
        .config = PERF_COUNT_SW_TASK_CLOCK,
        .exclude_kernel = 1,
    };
    return syscall(SYS_perf_event_open, &attr, 0, -1, -1, 0);
}

static long call_userfaultfd(void)
{
    return syscall(SYS_userfaultfd, USER_MODE_ONLY);
}

static long call_kexec(void)
{
    return syscall(SYS_kexec_load, 0, 0, NULL, 0);
}

static long call_kexec_file(void)
{
    return syscall(SYS_kexec_file_load, -1, -1, 0, "", 4 /* KEXEC_FILE_NO_INITRAMFS */);
}

/* Garbage: a kernel that has the call says ENOEXEC, and that is far enough. */
static long call_init_module(void)
{
    long r = syscall(SYS_init_module, "isolate-attack: no module", 25, "");
    return r < 0 && errno == ENOEXEC ? 0 : r;
}

static long call_finit_module(void)
{
    int fd = open("/proc/self/exe", O_RDONLY);
    long r = syscall(SYS_finit_module, fd, "", 0);
    return r < 0 && errno == ENOEXEC ? 0 : r;
}

static long call_delete_module(void)
{
    long r = syscall(SYS_delete_module, "isolate_attack_none", O_NONBLOCK);
    return r < 0 && errno == ENOENT ? 0 : r;
}

static long call_syslog(void)
{
    return klogctl(10 /* SYSLOG_ACTION_SIZE_BUFFER */, NULL, 0) < 0
               ? -1
               : klogctl(3 /* READ_ALL */, (char[64]){0}, 64);
}

static long call_iopl(void)
{
    return syscall(SYS_iopl, 3);
}

static long call_ioperm(void)
{
    return syscall(SYS_ioperm, 0x80, 1, 1);
}

static long call_settimeofday(void)
{
    return syscall(SYS_settimeofday, NULL, NULL);
}

static long call_adjtimex(void)
{
    struct timex now = {.modes = 0};
    if (syscall(SYS_adjtimex, &now) < 0)
        return -1;
    struct timex same = {.modes = ADJ_TICK, .tick = now.tick};
    return syscall(SYS_adjtimex, &same);
}

static long call_kcmp(void)
{
    return syscall(SYS_kcmp, getpid(), getpid(), 0, 0, 0);
}

static long call_pidfd_getfd(void)
{
    long self = syscall(SYS_pidfd_open, getpid(), 0);
    return syscall(SYS_pidfd_getfd, self, 1, 0);
}

static long call_fanotify(void)
{
    return syscall(SYS_fanotify_init, 0, O_RDONLY);
}

/* A bad magic number: EINVAL comes after the question of rights. */
static long call_reboot(void)
{
    long r = syscall(SYS_reboot, 0, 0, 0, NULL);
    return r < 0 && errno == EINVAL ? 0 : r;
}

static long call_swapon(void)
{
    long r = syscall(SYS_swapon, "/isolate-attack-none", 0);
    return r < 0 && errno == ENOENT ? 0 : r;
}

static long call_acct(void)
{
    long r = syscall(SYS_acct, "/isolate-attack-none");
    return r < 0 && errno == ENOENT ? 0 : r;
}

static long call_quotactl(void)
{
    long r = syscall(SYS_quotactl, 0x80000100 /* Q_SYNC of user quotas */, NULL, 0, NULL);
    return r;
}

static long call_sethostname(void)
{
    return sethostname("attacked", 8);
}

int main(void)
{
    attempt("keyctl", call_keyctl);
    attempt("keyctl_high_bits", call_keyctl_high);
    attempt("add_key", call_add_key);
    attempt("request_key", call_request_key);
    attempt("io_uring_setup", call_io_uring);
    attempt("io_uring_enter", call_io_uring_enter);
    attempt("io_uring_register", call_io_uring_register);
    attempt("bpf", call_bpf);
    attempt("perf_event_open", call_perf);
    attempt("userfaultfd", call_userfaultfd);
    attempt("kexec_load", call_kexec);
    attempt("kexec_file_load", call_kexec_file);
    attempt("init_module", call_init_module);
    attempt("finit_module", call_finit_module);
    attempt("delete_module", call_delete_module);
    attempt("syslog", call_syslog);
    attempt("iopl", call_iopl);
    attempt("ioperm", call_ioperm);
    attempt("settimeofday", call_settimeofday);
    attempt("adjtimex", call_adjtimex);
    attempt("kcmp", call_kcmp);
    attempt("pidfd_getfd", call_pidfd_getfd);
    attempt("fanotify_init", call_fanotify);
    attempt("reboot", call_reboot);
    attempt("swapon", call_swapon);
    attempt("acct", call_acct);
    attempt("quotactl", call_quotactl);
    attempt("sethostname", call_sethostname);
    return 0;
}
