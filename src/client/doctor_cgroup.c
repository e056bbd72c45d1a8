/* SPDX-License-Identifier: Apache-2.0 */
/* Control groups: a leaf of its own directly below the cgroup2 mount is made, used and removed.
 * Controllers are only looked up: enabling one would change the machine. Runs in isolate-ctl as
 * the caller, as root for the leaf; reads kernel files only. */
#include "client/doctor.h"

#include "base/text.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <signal.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <sys/wait.h>

#define TIMEOUT_MS 5000

#define REMEDY_MOUNT                                                                           \
    "mount -t cgroup2 none /sys/fs/cgroup (or below it), or boot with "                        \
    "systemd.unified_cgroup_hierarchy=1"

void doctor_check_cgroup2(const struct doctor *doctor, struct doctor_check *check)
{
    char path[200];
    if (cgroup_find_mount(path, sizeof(path)) == 0) {
        doctor_ok(check, "mounted on %s", path);
        return;
    }
    doctor_bad(check, "mounted nowhere");
    doctor_remedy(check, REMEDY_MOUNT);
}

/* ---- a process in a leaf ---- */

static _Noreturn void child_wait(void)
{
    (void)prctl(PR_SET_PDEATHSIG, SIGKILL, 0, 0, 0);
    for (;;)
        (void)syscall(SYS_pause);
}

static int kill_by_leaf(int leaf, int pidfd, struct error *err)
{
    int r = cgroup_kill(leaf);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "cgroup.kill: ");
    r = pidfd_wait(pidfd, TIMEOUT_MS);
    if (r == 0)
        return fail(err, ERROR_UNSUPPORTED, ETIMEDOUT, "cgroup.kill killed nothing");
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "waiting: ") : 0;
}

/* Starts a process in the leaf; with `by_leaf`, kills it through the leaf too. */
static int use_leaf(int leaf, bool by_leaf, struct error *err)
{
    _cleanup_close_ int pidfd = -EBADF;
    pid_t pid = process_clone(0, leaf, &pidfd);
    if (pid < 0)
        return fail(err, ERROR_SYSTEM, pid, "clone3 with CLONE_INTO_CGROUP: ");
    if (pid == 0)
        child_wait();
    int r = cgroup_is_populated(leaf);
    if (r == 0)
        r = fail(err, ERROR_UNSUPPORTED, ENOTSUP, "the process is not in its cgroup");
    else if (r < 0)
        r = fail(err, ERROR_SYSTEM, r, "cgroup.events: ");
    else
        r = by_leaf ? kill_by_leaf(leaf, pidfd, err) : 0;
    (void)!pidfd_signal(pidfd, SIGKILL);
    if (pidfd_wait(pidfd, TIMEOUT_MS) == 1)
        (void)waitpid(pid, NULL, __WALL);
    return r;
}

static int try_leaf(bool by_leaf, struct error *err)
{
    char path[512];
    char name[64];
    int r = cgroup_find_mount(path, sizeof(path));
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r, "cgroup v2 is not mounted");
    _cleanup_close_ int parent = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    if (parent < 0)
        return fail(err, ERROR_SYSTEM, errno, "open %.100s: ", path);
    uint64_t number = 0;
    random_fill(&number, sizeof(number));
    (void)snprintf(name, sizeof(name), "isolate-doctor.%016llx", (unsigned long long)number);
    _cleanup_close_ int leaf = cgroup_create(parent, name);
    if (leaf < 0)
        return fail(err, ERROR_SYSTEM, leaf, "making a group in %.100s: ", path);
    r = use_leaf(leaf, by_leaf, err);
    int removed = cgroup_destroy(parent, name, TIMEOUT_MS);
    if (r == 0 && removed < 0)
        r = fail(err, ERROR_SYSTEM, removed, "removing %.100s/%s: ", path, name);
    return r;
}

static void check_leaf(struct doctor_check *check, bool by_leaf, const char *since)
{
    struct error err = {0};
    int r = try_leaf(by_leaf, &err);
    if (r == 0) {
        doctor_ok(check, "works");
        return;
    }
    doctor_bad(check, "%.250s", err.text);
    if (r == -EROFS || r == -EACCES || r == -EPERM)
        doctor_remedy(check,
                      "run isolate on the host, or give this container a writable cgroup2: "
                      "docker run --cgroupns=private --privileged; in a unit, drop "
                      "ProtectControlGroups=");
    else if (err.code == ERROR_UNSUPPORTED && r == -ENOENT)
        doctor_remedy(check, REMEDY_MOUNT);
    else
        doctor_remedy(check, "boot Linux %s or later", since);
}

void doctor_check_clone_into_cgroup(const struct doctor *doctor, struct doctor_check *check)
{
    check_leaf(check, false, "5.7");
}

void doctor_check_cgroup_kill(const struct doctor *doctor, struct doctor_check *check)
{
    check_leaf(check, true, "5.14");
}

/* ---- controllers ---- */

enum controller_place { PLACE_NOWHERE, PLACE_DISABLED, PLACE_V1, PLACE_V2 };

/* Where /proc/cgroups (gone from kernels without cgroup v1) has a controller. */
static enum controller_place controller_place(const char *name)
{
    _cleanup_fclose_ FILE *file = fopen("/proc/cgroups", "re");
    char line[256];
    while (file && fgets(line, sizeof(line), file)) {
        /* subsys_name hierarchy num_cgroups enabled */
        char *at = line;
        char *words[4];
        for (size_t i = 0; i < ELEMENTS(words); i++)
            words[i] = strsep(&at, "\t\n");
        if (!words[3] || !streq(words[0], name))
            continue;
        bool hierarchy = !streq(words[1], "0");
        bool enabled = !streq(words[3], "0");
        if (!enabled)
            return PLACE_DISABLED;
        return hierarchy ? PLACE_V1 : PLACE_V2;
    }
    return PLACE_NOWHERE;
}

static void controller_missing(struct doctor_check *check, const char *name)
{
    switch (controller_place(streq(name, "io") ? "blkio" : name)) {
    case PLACE_V1:
        doctor_bad(check, "held by cgroup v1: no %s", check->what);
        doctor_remedy(check,
                      "boot with systemd.unified_cgroup_hierarchy=1 (without systemd: "
                      "cgroup_no_v1=%s)",
                      name);
        return;
    case PLACE_DISABLED:
        doctor_bad(check, "switched off at boot: no %s", check->what);
        if (streq(name, "memory"))
            doctor_remedy(check,
                          "boot with cgroup_enable=memory, without cgroup_disable=memory");
        else
            doctor_remedy(check, "boot without cgroup_disable=%s", name);
        return;
    case PLACE_V2:
        doctor_bad(check, "not given to this part of the cgroup tree: no %s", check->what);
        doctor_remedy(check,
                      "run isolate on the host, or delegate the controller %s to this "
                      "container",
                      name);
        return;
    case PLACE_NOWHERE:
        break;
    }
    doctor_bad(check, "not in this kernel: no %s", check->what);
    doctor_remedy(check,
                  "boot a kernel that has the cgroup controller %s, with "
                  "systemd.unified_cgroup_hierarchy=1",
                  name);
}

void doctor_check_controller(const struct doctor *doctor, struct doctor_check *check)
{
    const char *name = text_after(check->name, "cgroup-");
    char path[512];
    _cleanup_buffer_ struct buffer text = {0};
    if (cgroup_find_mount(path, sizeof(path)) < 0) {
        doctor_bad(check, "no cgroup v2: no %s", check->what);
        doctor_remedy(check, REMEDY_MOUNT);
        return;
    }
    _cleanup_close_ int root = open(path, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? -errno : file_read_at(root, "cgroup.controllers", 4096, &text);
    if (r == 0 && text.data && text_has_word(text.data, name))
        doctor_ok(check, "%s", check->what);
    else
        controller_missing(check, name);
}
