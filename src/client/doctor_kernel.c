/* SPDX-License-Identifier: Apache-2.0 */
/* What the kernel offers: namespaces, system calls, filters, limits. Runs in isolate-ctl as the
 * caller; reads kernel files only. */
#include "client/doctor.h"

#include "base/parse.h"
#include "sys/fd.h"
#include "sys/kernel.h"
#include "sys/mount.h"
#include "sys/process.h"

#include <fcntl.h>
#include <inttypes.h>
#include <linux/filter.h>
#include <linux/sched.h>
#include <linux/seccomp.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/utsname.h>

#define FILES_PROCESS_MIN 4096
#define FILES_SYSTEM_MIN  65536

void doctor_check_kernel(const struct doctor *doctor, struct doctor_check *check)
{
    struct utsname name = {0};
    char *rest = NULL;
    unsigned long major = uname(&name) < 0 ? 0 : strtoul(name.release, &rest, 10);
    unsigned long minor = rest && *rest == '.' ? strtoul(rest + 1, NULL, 10) : 0;
    if (major == 0) {
        doctor_bad(check, "version unknown");
        doctor_remedy(check, "go by the other checks");
        return;
    }
    if (major > 6 || (major == 6 && minor >= 1)) {
        doctor_ok(check, "%s %.100s", name.sysname, name.release);
        return;
    }
    doctor_bad(check, "%s %.100s is older than anyone has tested", name.sysname, name.release);
    doctor_remedy(check, "boot Linux 6.1 or later (Debian 12)");
}

/* ---- namespaces ---- */

static int child_nothing(const void *argument, struct error *err)
{
    return 0;
}

/* Our root is not that of the first process. */
static bool is_chroot(void)
{
    struct stat ours;
    struct stat above;
    return stat("/", &ours) == 0 && stat("/proc/1/root/", &above) == 0 &&
           (ours.st_ino != above.st_ino || ours.st_dev != above.st_dev);
}

void doctor_check_userns(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    int r = doctor_child(doctor, CLONE_NEWUSER, child_nothing, NULL, &err);
    if (r == 0 && doctor->root) {
        doctor_ok(check, "made, 65536 ids from %u mapped", doctor->trial_id);
        return;
    }
    if (r == 0) {
        doctor_ok(check, "made; not as root: only the own id was mapped");
        return;
    }
    doctor_bad(check, "%.250s", err.text);
    if (r == -ENOSPC)
        doctor_remedy(check, "sysctl -w user.max_user_namespaces=65536");
    else if (r == -EINVAL || r == -ENOSYS)
        doctor_remedy(check, "boot a kernel with CONFIG_USER_NS=y and clone3 (5.3)");
    else if (doctor->root && is_chroot())
        doctor_remedy(check,
                      "this is a chroot, in which the kernel makes none: enter the root by "
                      "pivot_root instead, as a container does");
    else if (doctor->root)
        doctor_remedy(check, "run isolate on the host, or in a container with CAP_SYS_ADMIN, "
                             "CAP_SETUID, CAP_SETGID and these ids mapped");
    else
        doctor_remedy(check,
                      "sysctl -w kernel.unprivileged_userns_clone=1 (Debian), sysctl -w "
                      "kernel.apparmor_restrict_unprivileged_userns=0 (Ubuntu), sysctl -w "
                      "user.max_user_namespaces=65536, or run isolate as root");
}

void doctor_check_namespaces(const struct doctor *doctor, struct doctor_check *check)
{
    static const struct {
        uint64_t flag;
        const char *name;   /* as in user.max_NAME_namespaces */
        const char *option; /* of the kernel */
    } kinds[] = {
        {CLONE_NEWNS, "mnt", "NAMESPACES"}, {CLONE_NEWPID, "pid", "PID_NS"},
        {CLONE_NEWNET, "net", "NET_NS"},    {CLONE_NEWUTS, "uts", "UTS_NS"},
        {CLONE_NEWIPC, "ipc", "IPC_NS"},    {CLONE_NEWCGROUP, "cgroup", "CGROUPS"},
    };
    for (size_t i = 0; i < ELEMENTS(kinds); i++) {
        struct error err = {0};
        int r = doctor_child(doctor, CLONE_NEWUSER | kinds[i].flag, child_nothing, NULL, &err);
        if (r == 0)
            continue;
        doctor_bad(check, "%s: %.230s", kinds[i].name, err.text);
        if (r == -ENOSPC)
            doctor_remedy(check, "sysctl -w user.max_%s_namespaces=65536", kinds[i].name);
        else if (r == -EINVAL || r == -ENOSYS)
            doctor_remedy(check, "boot a kernel with CONFIG_%s=y", kinds[i].option);
        else
            doctor_remedy(check, "run isolate on the host, outside of this container");
        return;
    }
    doctor_ok(check, "mount, pid, net, uts, ipc, cgroup");
}

/* ---- system calls ---- */

/* ENOSYS and EPERM of a system call that every supported kernel has come from a filter. */
static void bad_system_call(struct doctor_check *check, const char *call, int r,
                            const char *since)
{
    doctor_bad(check, "%s: %s", call, strerror(-r));
    if (r == -ENOSYS || r == -EPERM)
        doctor_remedy(check,
                      "boot Linux %s or later, or allow %s in the system call filter of "
                      "this container or unit",
                      since, call);
    else
        doctor_remedy(check,
                      "strace -f isolate doctor shows the call; report it with the kernel's "
                      "version");
}

void doctor_check_calls(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    if (kernel_check_calls(true, &err) == 0) {
        doctor_ok(check, "all there");
        return;
    }
    doctor_bad(check, "%.250s", err.text);
    doctor_remedy(check,
                  "boot Linux 6.1 or later, or allow it in the system call filter of this "
                  "container or unit");
}

void doctor_check_openat2(const struct doctor *doctor, struct doctor_check *check)
{
    uint64_t resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS | RESOLVE_NO_SYMLINKS;
    _cleanup_close_ int root = open_resolved(AT_FDCWD, "/", O_PATH | O_DIRECTORY, 0);
    _cleanup_close_ int fd =
        root < 0 ? root : open_resolved(root, "../..", O_PATH | O_DIRECTORY, resolve);
    if (fd < 0)
        bad_system_call(check, "openat2", fd, "5.6");
    else
        doctor_ok(check, "works");
}

void doctor_check_pidfd(const struct doctor *doctor, struct doctor_check *check)
{
    _cleanup_close_ int fd = pidfd_open_pid(getpid());
    if (fd < 0) {
        bad_system_call(check, "pidfd_open", fd, "5.3");
        return;
    }
    int r = pidfd_signal(fd, 0);
    if (r < 0)
        bad_system_call(check, "pidfd_send_signal", r, "5.1");
    else
        doctor_ok(check, "works");
}

/* ---- filters ---- */

static int child_filter(const void *argument, struct error *err)
{
    struct sock_filter allow = BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW);
    struct sock_fprog program = {.len = 1, .filter = &allow};
    if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
        return fail(err, ERROR_SYSTEM, errno, "no_new_privs: ");
    if (syscall(SYS_seccomp, SECCOMP_SET_MODE_FILTER, 0, &program) < 0)
        return fail(err, ERROR_SYSTEM, errno, "installing a filter: ");
    return 0;
}

void doctor_check_seccomp(const struct doctor *doctor, struct doctor_check *check)
{
    static const struct {
        uint32_t action;
        const char *name;
    } actions[] = {
        {SECCOMP_RET_ERRNO, "errno"},
        {SECCOMP_RET_KILL_PROCESS, "kill_process"},
    };
    struct error err = {0};
    int r = prctl(PR_GET_SECCOMP, 0, 0, 0, 0) < 0
                ? fail(&err, ERROR_SYSTEM, errno, "seccomp: ")
                : doctor_child(doctor, 0, child_filter, NULL, &err);
    for (size_t i = 0; i < ELEMENTS(actions) && r == 0; i++)
        if (syscall(SYS_seccomp, SECCOMP_GET_ACTION_AVAIL, 0, &actions[i].action) < 0)
            r = fail(&err, ERROR_SYSTEM, errno, "seccomp action %s: ", actions[i].name);
    if (r == 0) {
        doctor_ok(check, "filters work");
        return;
    }
    doctor_bad(check, "%.250s", err.text);
    doctor_remedy(check, "boot a kernel with CONFIG_SECCOMP_FILTER=y, or allow seccomp in the "
                         "system call filter of this container or unit");
}

/* ---- memfd ---- */

static int try_memfd(struct error *err)
{
    static const char content[] = "isolate";
    const void *data = NULL;
    size_t length = 0;
    struct stat info;
    _cleanup_close_ int fd = memfd_sealed("isolate-doctor", content, sizeof(content), 0555);
    if (fd < 0)
        return fail(err, ERROR_SYSTEM, fd, "an executable memfd: ");
    int r = memfd_map(fd, sizeof(content), &data, &length);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "sealing a memfd: ");
    bool same = length == sizeof(content) && memcmp(data, content, length) == 0;
    (void)munmap((void *)(uintptr_t)data, length);
    if (!same || fstat(fd, &info) < 0 || !(info.st_mode & 0111))
        return fail(err, ERROR_UNSUPPORTED, ENOEXEC, "a memfd lost its content or its x bits");
    return 0;
}

void doctor_check_memfd(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    int r = try_memfd(&err);
    if (r == 0) {
        doctor_ok(check, "sealed and executable");
        return;
    }
    doctor_bad(check, "%.250s", err.text);
    if (r == -EACCES || r == -ENOEXEC)
        doctor_remedy(check,
                      "sysctl -w vm.memfd_noexec=0 (isolate-init is executed from a memfd)");
    else
        doctor_remedy(check, "boot a kernel with CONFIG_MEMFD_CREATE=y, with /proc mounted");
}

/* ---- limits ---- */

void doctor_check_files(const struct doctor *doctor, struct doctor_check *check)
{
    struct error ignored;
    struct rlimit limit = {0};
    uint64_t all = 0;
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(AT_FDCWD, "/proc/sys/fs/file-max", 64, &text);
    if (r == 0 && text.data)
        text.data[strcspn(text.data, "\n")] = '\0';
    if (r < 0 || !text.data || getrlimit(RLIMIT_NOFILE, &limit) < 0 ||
        parse_u64(text.data, 0, UINT64_MAX, &all, "file-max", &ignored) < 0) {
        doctor_bad(check, "the limits cannot be read");
        doctor_remedy(check, "mount -t proc proc /proc");
        return;
    }
    if (limit.rlim_max >= FILES_PROCESS_MIN && all >= FILES_SYSTEM_MIN) {
        doctor_ok(check, "%" PRIu64 " here, %" PRIu64 " on the machine",
                  (uint64_t)limit.rlim_max, all);
        return;
    }
    doctor_bad(check, "%" PRIu64 " here (wanted %d), %" PRIu64 " on the machine (wanted %d)",
               (uint64_t)limit.rlim_max, FILES_PROCESS_MIN, all, FILES_SYSTEM_MIN);
    if (all < FILES_SYSTEM_MIN)
        doctor_remedy(check, "sysctl -w fs.file-max=1000000");
    else
        doctor_remedy(
            check, "LimitNOFILE=1024:65536 in isolated.service (systemctl edit isolated), or "
                   "ulimit -Hn 65536 where isolated is started");
}
