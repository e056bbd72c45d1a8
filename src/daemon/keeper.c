/* SPDX-License-Identifier: Apache-2.0 */
/* The keeper of isolate-sandboxes.service, which holds the sandboxes' cgroups: a unit without a
 * process has no cgroup, and one with processes directly in it can have no controllers for what
 * is below (cgroup-v2.rst, "No Internal Process Constraint"). systemd before 254 has no
 * DelegateSubgroup=, so the process moves itself. Runs as root; reads only kernel files. */
#include "daemon/keeper.h"

#include "base/log.h"
#include "base/text.h"
#include "daemon/confine.h"
#include "sys/cgroup.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <sys/prctl.h>
#include <systemd/sd-daemon.h>

/* The path of our own cgroup below the cgroup2 mount, without the slash in front. */
static int own_group(char *path, size_t size, struct error *err)
{
    _cleanup_fclose_ FILE *file = fopen("/proc/self/cgroup", "re");
    char line[4200];
    while (file && fgets(line, sizeof(line), file)) {
        const char *group = text_after(line, "0::/");
        if (!group)
            continue;
        (void)snprintf(path, size, "%.*s", (int)strcspn(group, "\n"), group);
        if (*path == '\0')
            return fail(err, ERROR_UNSUPPORTED, EINVAL,
                        "in the root cgroup: start isolate-sandboxes.service instead");
        return 0;
    }
    return fail(err, ERROR_UNSUPPORTED, file ? ENOENT : errno,
                "/proc/self/cgroup: no cgroup v2: ");
}

/* Opens the mount and our group in it. */
static int open_groups(int *ret_root, int *ret_group, struct error *err)
{
    char mount[512];
    char path[4200];
    int r = cgroup_find_mount(mount, sizeof(mount));
    if (r < 0)
        return fail(err, ERROR_UNSUPPORTED, r, "cgroup v2 is not mounted anywhere");
    r = own_group(path, sizeof(path), err);
    if (r < 0)
        return r;
    _cleanup_close_ int root = open(mount, O_PATH | O_DIRECTORY | O_CLOEXEC);
    int group = root < 0 ? -errno : cgroup_open(root, path);
    if (group < 0)
        return fail(err, ERROR_SYSTEM, group, "open the cgroup %.200s: ", path);
    *ret_root = TAKE_FD(root);
    *ret_group = group;
    return 0;
}

static int move_aside(struct error *err)
{
    _cleanup_close_ int root = -EBADF;
    _cleanup_close_ int group = -EBADF;
    int r = open_groups(&root, &group, err);
    if (r < 0)
        return r;
    _cleanup_close_ int keeper = dir_make_at(group, CGROUP_KEEPER, 0755);
    r = keeper < 0 ? keeper : file_write_at(keeper, "cgroup.procs", "0");
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "move into the subgroup " CGROUP_KEEPER ": ");
    /* what was used before this unit ran; with sandboxes in it, it goes on until the next start
     */
    if (unlinkat(root, CGROUP_OWN, AT_REMOVEDIR) < 0 && errno != ENOENT && errno != EBUSY)
        log_warning("isolated: --keeper: remove the group " CGROUP_OWN ": %s", strerror(errno));
    return 0;
}

int keeper_main(void)
{
    struct error err = {0};
    sigset_t ends;
    (void)sigemptyset(&ends);
    (void)sigaddset(&ends, SIGTERM);
    (void)sigaddset(&ends, SIGINT);
    (void)prctl(PR_SET_DUMPABLE, 0);
    if (sigprocmask(SIG_BLOCK, &ends, NULL) < 0 || move_aside(&err) < 0 ||
        confine_keeper(&err) < 0) {
        log_error("isolated: --keeper: %s", err.text);
        return 1;
    }
    (void)sd_notify(0, "READY=1\nSTATUS=Keeps the control groups of the sandboxes");
    int signal;
    while (sigwait(&ends, &signal) != 0)
        ;
    (void)sd_notify(0, "STOPPING=1");
    return 0;
}
