/* SPDX-License-Identifier: Apache-2.0 */
/* The table of checks, and what they share: a child in namespaces of its own and the answers.
 * Runs in isolate-ctl as the caller; reads the configuration, which is root's. */
#include "client/doctor.h"

#include "base/text.h"
#include "paths.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/mount.h"
#include "sys/process.h"
#include "sys/socket.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <linux/capability.h>
#include <linux/sched.h>
#include <poll.h>
#include <signal.h>
#include <stdarg.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define CHILD_TIMEOUT_MS 10000

struct entry {
    const char *name;
    const char *what;
    bool needed;
    unsigned takes; /* a set of TAKES_* */
    void (*probe)(const struct doctor *doctor, struct doctor_check *check);
};

/* What a trial takes: without root it is left out, without user namespaces it is not tried. */
#define TAKES_ROOT   1U
#define TAKES_USERNS 2U

#define NEEDED        true, 0
#define NEEDED_USERNS true, TAKES_USERNS
#define NEEDED_ROOT   true, TAKES_ROOT
#define NEEDED_BOTH   true, TAKES_ROOT | TAKES_USERNS
#define WISHED        false, 0

/* The names are an interface (--json): they stay. */
static const struct entry ENTRIES[] = {
    {"root", "the rights to try everything", NEEDED, doctor_check_root},
    {"config", "the configuration of isolated", NEEDED, doctor_check_config},
    {"kernel", "Linux 6.1 or later", WISHED, doctor_check_kernel},
    {"userns", "user namespaces", NEEDED, doctor_check_userns},
    {"namespaces", "mount, pid, net, uts, ipc and cgroup namespaces", NEEDED_USERNS,
     doctor_check_namespaces},
    {"proc", "a proc of the sandbox's own", NEEDED_USERNS, doctor_check_proc},
    {"system-calls", "the system calls that sandboxes are made with", NEEDED,
     doctor_check_calls},
    {"openat2", "opening paths confined to a directory", NEEDED, doctor_check_openat2},
    {"pidfd", "processes by file descriptor", NEEDED, doctor_check_pidfd},
    {"seccomp", "system call filters", NEEDED, doctor_check_seccomp},
    {"memfd", "sealed, executable memory files", NEEDED, doctor_check_memfd},
    {"mount-api", "mounts by file descriptor", NEEDED_USERNS, doctor_check_mount_api},
    {"tmpfs", "tmpfs inside a sandbox", NEEDED_USERNS, doctor_check_tmpfs},
    {"devpts", "pseudo terminals of the sandbox's own", NEEDED_USERNS, doctor_check_devpts},
    {"overlay", "storage overlay", NEEDED, doctor_check_overlay},
    {"state-directory", "clones by id-mapped overlay in the state directory", NEEDED_BOTH,
     doctor_check_state_directory},
    {"runtime-directory", "records of sandboxes on a tmpfs", NEEDED_ROOT,
     doctor_check_runtime_directory},
    {"id-ranges", "user and group ids that are isolate's alone", NEEDED, doctor_check_ids},
    {"files", "limits on open files", WISHED, doctor_check_files},
    {"cgroup2", "control groups, version 2", NEEDED, doctor_check_cgroup2},
    {"clone-into-cgroup", "starting a process inside a control group", NEEDED_ROOT,
     doctor_check_clone_into_cgroup},
    {"cgroup-kill", "killing a whole sandbox at once", NEEDED_ROOT, doctor_check_cgroup_kill},
    {"cgroup-memory", "limits on memory and swap", WISHED, doctor_check_controller},
    {"cgroup-cpu", "limits on CPU time", WISHED, doctor_check_controller},
    {"cgroup-pids", "limits on the number of processes", WISHED, doctor_check_controller},
    {"cgroup-io", "shares of disk bandwidth", WISHED, doctor_check_controller},
    {"cgroup-cpuset", "confining sandboxes to some CPUs", WISHED, doctor_check_controller},
    {"isolated", "the daemon's program", NEEDED, doctor_check_part},
    {"daemon", "sandboxes for others than root, and kept ready", WISHED, doctor_check_daemon},
    {"isolate-init", "process 1 of sandboxes", NEEDED, doctor_check_part},
    {"isolate-image", "the reader and writer of images", NEEDED, doctor_check_part},
    {"isolate-network", "networks of sandboxes", NEEDED, doctor_check_part},
    {"mmdebstrap", "templates from Debian and Ubuntu archives", WISHED, doctor_check_program},
    {"bwrap", "engine bwrap", WISHED, doctor_check_program},
    {"lxc", "engine lxc", WISHED, doctor_check_program},
    {"nspawn", "engine nspawn", WISHED, doctor_check_program},
    {"oci-runtime", "engine oci", WISHED, doctor_check_program},
    {"skopeo", "templates from container registries", WISHED, doctor_check_program},
    {"zfs", "storage zfs", WISHED, doctor_check_program},
    {"btrfs", "making and repairing file systems for storage btrfs", WISHED,
     doctor_check_program},
    {"pasta", "network nat", WISHED, doctor_check_program},
    {"uidmap", "isolate -t with -u and -g for ordinary users", WISHED, doctor_check_program},
    {"xauth", "X11 programs in sandboxes", WISHED, doctor_check_program},
};

void doctor_ok(struct doctor_check *check, const char *format, ...)
{
    va_list arguments;
    check->result = DOCTOR_OK;
    check->remedy[0] = '\0';
    va_start(arguments, format);
    (void)vsnprintf(check->detail, sizeof(check->detail), format, arguments);
    va_end(arguments);
}

void doctor_bad(struct doctor_check *check, const char *format, ...)
{
    va_list arguments;
    check->result = check->needed ? DOCTOR_MISSING : DOCTOR_OPTIONAL;
    va_start(arguments, format);
    (void)vsnprintf(check->detail, sizeof(check->detail), format, arguments);
    va_end(arguments);
}

void doctor_remedy(struct doctor_check *check, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    (void)vsnprintf(check->remedy, sizeof(check->remedy), format, arguments);
    va_end(arguments);
}

/* ---- the child ---- */

static int child_prepare(uint64_t flags, struct error *err)
{
    int r = 0;
    /* raw calls: glibc's wrappers would signal threads that the child does not have */
    if ((flags & CLONE_NEWUSER) &&
        (syscall(SYS_setresgid, 0, 0, 0) < 0 || syscall(SYS_setresuid, 0, 0, 0) < 0))
        return fail(err, ERROR_SYSTEM, errno, "becoming root of a user namespace: ");
    if (flags & CLONE_NEWNS)
        r = mount_classic("none", "/", NULL, MS_REC | MS_PRIVATE, NULL);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "making mounts private: ") : 0;
}

static _Noreturn void child_main(int fd, uint64_t flags,
                                 int (*body)(const void *argument, struct error *err),
                                 const void *argument)
{
    struct error err = {0};
    char go = 0;
    if (read(fd, &go, 1) != 1)
        _exit(EXIT_FAILURE);
    if (child_prepare(flags, &err) == 0) {
        int r = body(argument, &err);
        if (r < 0 && err.code == ERROR_NONE)
            (void)fail(&err, ERROR_SYSTEM, r, "trial: ");
    }
    _exit(socket_send(fd, &err, sizeof(err), NULL, 0) < 0 ? EXIT_FAILURE : EXIT_SUCCESS);
}

static int write_maps(const struct doctor *doctor, pid_t pid)
{
    struct id_map uids = {.outside = doctor->trial_id, .count = USERNS_RANGE};
    struct id_map gids = uids;
    if (!doctor->root) {
        char path[64];
        (void)snprintf(path, sizeof(path), "/proc/%d/setgroups", (int)pid);
        int r = file_write_at(AT_FDCWD, path, "deny");
        if (r < 0)
            return r;
        uids = (struct id_map){.outside = geteuid(), .count = 1};
        gids = (struct id_map){.outside = getegid(), .count = 1};
    }
    return userns_write_maps(pid, &uids, 1, &gids, 1);
}

static int child_answer(int fd, struct error *err)
{
    struct error answer = {0};
    struct pollfd poll_fd = {.fd = fd, .events = POLLIN};
    _cleanup_fd_list_ struct fd_list none = {0};
    int n = 0;
    do
        n = poll(&poll_fd, 1, CHILD_TIMEOUT_MS);
    while (n < 0 && errno == EINTR);
    if (n == 0)
        return fail(err, ERROR_SYSTEM, ETIMEDOUT, "hung for %d seconds",
                    CHILD_TIMEOUT_MS / 1000);
    ssize_t length = socket_receive(fd, &answer, sizeof(answer), MSG_DONTWAIT, &none);
    if (length != (ssize_t)sizeof(answer))
        return fail(err, ERROR_SYSTEM, ECHILD, "the child that tried it died");
    if (answer.code == ERROR_NONE)
        return 0;
    return fail(err, answer.code, answer.errnum, "%s", answer.text);
}

static int child_converse(const struct doctor *doctor, pid_t pid, uint64_t flags, int fd,
                          struct error *err)
{
    int r = (flags & CLONE_NEWUSER) ? write_maps(doctor, pid) : 0;
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "writing the id maps of a user namespace: ");
    r = socket_send(fd, "g", 1, NULL, 0);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "child: ") : child_answer(fd, err);
}

int doctor_child(const struct doctor *doctor, uint64_t flags,
                 int (*body)(const void *argument, struct error *err), const void *argument,
                 struct error *err)
{
    int pair[2] = {-EBADF, -EBADF};
    if (!doctor->root && flags)
        flags |= CLONE_NEWUSER;
    int r = socket_pair(SOCK_SEQPACKET, pair);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "socketpair: ");
    _cleanup_close_ int ours = pair[0];
    _cleanup_close_ int theirs = pair[1];
    _cleanup_close_ int pidfd = -EBADF;
    pid_t pid = process_clone(flags, -EBADF, &pidfd);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, pid, "clone3: ");
    if (pid == 0) {
        fd_closep(&ours);
        child_main(theirs, flags, body, argument);
    }
    fd_closep(&theirs);
    r = child_converse(doctor, pid, flags, ours, err);
    (void)!pidfd_signal(pidfd, SIGKILL);
    if (pidfd_wait(pidfd, CHILD_TIMEOUT_MS) == 1)
        (void)waitpid(pid, NULL, __WALL);
    return r;
}

/* ---- two checks about doctor itself ---- */

static bool capable(unsigned capability)
{
    struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3] = {0};
    if (syscall(SYS_capget, &header, data) < 0)
        return false;
    return data[CAP_TO_INDEX(capability)].effective & CAP_TO_MASK(capability);
}

/* The first capability that the trials need and this process lacks, or NULL. */
static const char *lacking_capability(void)
{
    static const unsigned wanted[] = {CAP_SYS_ADMIN, CAP_SETUID,       CAP_SETGID,
                                      CAP_CHOWN,     CAP_DAC_OVERRIDE, CAP_KILL};
    for (size_t i = 0; i < ELEMENTS(wanted); i++)
        if (!capable(wanted[i]))
            return caps_name(wanted[i]);
    return NULL;
}

void doctor_check_root(const struct doctor *doctor, struct doctor_check *check)
{
    const char *lacking = lacking_capability();
    if (doctor->root) {
        doctor_ok(check, "running as root");
    } else if (geteuid() != 0) {
        doctor_bad(check, "running as uid %u; not checked: %s", (unsigned)geteuid(),
                   doctor->unchecked);
        doctor_remedy(check, "run it as root: sudo isolate doctor");
    } else {
        doctor_bad(check, "running as root without %s; not checked: %s",
                   lacking ? lacking : "?", doctor->unchecked);
        doctor_remedy(check, "run it on the host, or give the container %s",
                      lacking ? lacking : "all capabilities");
    }
}

/* Of the files beside isolated.conf the first that is broken, or "". */
static const char *config_problem(const struct config *config)
{
    for (size_t i = 0; i < config->n_templates; i++)
        if (*config->templates[i].problem)
            return config->templates[i].problem;
    for (size_t i = 0; i < config->n_groups; i++)
        if (*config->groups[i].problem)
            return config->groups[i].problem;
    return "";
}

void doctor_check_config(const struct doctor *doctor, struct doctor_check *check)
{
    const char *problem = config_problem(&doctor->config);
    if (doctor->config_error.code == ERROR_NONE && *problem) {
        doctor_bad(check, "%s", problem);
        doctor_remedy(check, "correct it and run: systemctl reload isolated. Until then that "
                             "template is closed, or that group has nothing of its own");
        return;
    }
    if (doctor->config_error.code == ERROR_NONE) {
        doctor_ok(check, "state in %.100s, records in %.100s", doctor->config.state_directory,
                  doctor->config.runtime_directory);
        return;
    }
    doctor_bad(check, "%.200s; the defaults were checked", doctor->config_error.text);
    doctor_remedy(check, "correct that line, or make the file readable; without any file the "
                         "defaults hold");
}

/* ---- all of them ---- */

bool doctor_is_well(const struct doctor_check *checks, size_t n)
{
    for (size_t i = 0; i < n; i++)
        if (checks[i].result == DOCTOR_MISSING || checks[i].result == DOCTOR_LEFTOVER)
            return false;
    return true;
}

static void list_unchecked(struct doctor *doctor)
{
    size_t length = 0;
    for (size_t i = 0; i < ELEMENTS(ENTRIES); i++) {
        if (!(ENTRIES[i].takes & TAKES_ROOT) || length >= sizeof(doctor->unchecked))
            continue;
        int n = snprintf(doctor->unchecked + length, sizeof(doctor->unchecked) - length, "%s%s",
                         length ? ", " : "", ENTRIES[i].name);
        length += n > 0 ? (size_t)n : 0;
    }
}

static int doctor_open(struct doctor *doctor, struct error *err)
{
    const char *libexec = getenv("ISOLATE_LIBEXEC_DIR");
    doctor->libexec = libexec && *libexec ? libexec : PATH_LIBEXEC;
    doctor->root = geteuid() == 0 && !lacking_capability();
    if (config_load(getenv("ISOLATE_CONFIG"), &doctor->config, &doctor->config_error) < 0) {
        int r = config_load("/dev/null", &doctor->config, err);
        if (r < 0)
            return r;
    }
    doctor->trial_id = doctor->config.first_id + (doctor->config.ranges - 1) * USERNS_RANGE;
    list_unchecked(doctor);
    return 0;
}

static size_t run_entries(const struct doctor *doctor, struct doctor_check *checks)
{
    size_t n = 0;
    bool userns = true;
    for (size_t i = 0; i < ELEMENTS(ENTRIES); i++) {
        const struct entry *entry = &ENTRIES[i];
        if ((entry->takes & TAKES_ROOT) && !doctor->root)
            continue;
        struct doctor_check *check = &checks[n++];
        check->name = entry->name;
        check->what = entry->what;
        check->needed = entry->needed;
        if ((entry->takes & TAKES_USERNS) && !userns) {
            doctor_bad(check, "not tried: there are no user namespaces");
            doctor_remedy(check, "first do what is said of userns");
            continue;
        }
        entry->probe(doctor, check);
        if (entry->probe == doctor_check_userns)
            userns = check->result == DOCTOR_OK;
    }
    return n;
}

/* Appends what isolated knows, and of leftovers one check at least: that there are none, or
 * that nobody knows. */
static int add_answers(struct doctor_check **checks, size_t *n, struct error *err)
{
    struct error why = {0};
    _cleanup_free_ struct doctor_check *answers = NULL;
    size_t n_answers = 0;
    int r = doctor_ask(&answers, &n_answers, &why);
    if (r < 0)
        n_answers = 0;
    struct doctor_check *all = reallocarray(*checks, *n + n_answers + 1, sizeof(**checks));
    if (!all)
        return fail(err, ERROR_SYSTEM, ENOMEM, "leftovers: ");
    *checks = all;
    if (n_answers > 0)
        memcpy(all + *n, answers, n_answers * sizeof(*answers));
    *n += n_answers;
    if (n_answers > 0 && answers[n_answers - 1].result == DOCTOR_LEFTOVER)
        return 0;
    struct doctor_check *check = &all[(*n)++];
    *check = (struct doctor_check){
        .name = "leftovers", .what = "what earlier sandboxes left over", .needed = true};
    if (r < 0) {
        doctor_bad(check, "not known: %s", why.text);
        doctor_remedy(check, geteuid() == 0 ? "see what isolated says on stderr"
                                            : "run it as root: sudo isolate doctor");
    } else {
        doctor_ok(check, "none");
    }
    return 0;
}

int doctor_run(struct doctor_check **ret, size_t *ret_n, struct error *err)
{
    struct doctor doctor = {0};
    _cleanup_free_ struct doctor_check *checks = calloc(ELEMENTS(ENTRIES), sizeof(*checks));
    if (!checks)
        return fail(err, ERROR_SYSTEM, ENOMEM, "checks: ");
    int r = doctor_open(&doctor, err);
    if (r < 0)
        return r;
    /* Ctrl-C in the middle would leave a directory or a cgroup behind */
    sigset_t wait_with;
    sigset_t before;
    (void)sigemptyset(&wait_with);
    (void)sigaddset(&wait_with, SIGHUP);
    (void)sigaddset(&wait_with, SIGINT);
    (void)sigaddset(&wait_with, SIGTERM);
    (void)sigprocmask(SIG_BLOCK, &wait_with, &before);
    size_t n = run_entries(&doctor, checks);
    (void)sigprocmask(SIG_SETMASK, &before, NULL);
    config_clear(&doctor.config);
    r = add_answers(&checks, &n, err);
    if (r < 0)
        return r;
    *ret = TAKE_PTR(checks);
    *ret_n = n;
    return 0;
}
