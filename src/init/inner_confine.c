/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox owes to the engine that made it is looked at before the first command, not
 * trusted; what the engine left to the inner init is done. Runs in the inner init. */
#include "init/engine.h"
#include "init/mask.h"
#include "init/root.h"
#include "sys/apparmor.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/filter_load.h"
#include "sys/hidden.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <sys/prctl.h>
#include <sys/stat.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>
#include <sys/sysmacros.h>

/* Device nodes and set-id programs of the template are of no use. An engine that mounts the
 * root once more may lose that, unless it finds it locked. */
static int check_root(bool read_only, struct error *err)
{
    struct statvfs vfs = {0};
    unsigned long wanted = ST_NOSUID | ST_NODEV | (read_only ? ST_RDONLY : 0);
    if (statvfs("/", &vfs) == 0 && (vfs.f_flag & wanted) == wanted)
        return 0;
    return fail(err, ERROR_SYSTEM, EPERM,
                "the engine has taken nosuid, nodev or read-only from the root");
}

/* The first file that is to be hidden has been covered by the engine, with the host's
 * /dev/null: what the sandbox has at that place may be a caller's. */
int inner_mask_proc(struct error *err)
{
    struct stat st = {0};
    const char *null_path = NULL;
    for (size_t i = 0; hidden_in_proc[i] && !null_path; i++)
        if (lstat(hidden_in_proc[i], &st) == 0 && !S_ISDIR(st.st_mode))
            null_path = hidden_in_proc[i];
    if (null_path && (!S_ISCHR(st.st_mode) || st.st_rdev != makedev(1, 3)))
        return fail(err, ERROR_SYSTEM, EPERM, "the engine has not covered %s", null_path);
    return mask_in_proc(null_path, err);
}

/* Takes away a proc of the pod's, which an engine needed to see. Before anything is mounted
 * that would hide it: the kernel would still see it, and give a nested user namespace a new one
 * that nothing masks. */
static int unpin_proc(struct error *err)
{
    struct statfs found;
    int r = 0;
    while (r == 0 && statfs(ENGINE_PINNED_PROC, &found) == 0 &&
           found.f_type == PROC_SUPER_MAGIC)
        r = mount_detach(ENGINE_PINNED_PROC);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: unmount %s: ", ENGINE_PINNED_PROC)
                 : 0;
}

/* Newer systemd-nspawn binds one file of its own at several places of proc, as a shared mount:
 * what was mounted at one of them would come to lie on all of them, and on what covers them.
 * Each mount is a group of its own then, shared as before with namespaces made in the sandbox.
 */
static int part_mounts(struct error *err)
{
    int r = mount_classic(NULL, "/", NULL, MS_REC | MS_PRIVATE, NULL);
    if (r == 0)
        r = mount_classic(NULL, "/", NULL, MS_REC | MS_SHARED, NULL);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: part the engine's mounts: ") : 0;
}

static int mask_in_view(struct error *err)
{
    int r = part_mounts(err);
    return r < 0 ? r : mask_read_only_in_proc(err); /* sysrq-trigger may be writable */
}

/* Keeps those of the command, and what it takes to become another user, to bound what that has,
 * and to end what it runs. */
static int drop_capabilities(const struct start *start, struct error *err)
{
    uint64_t left = 0;
    uint64_t wanted = start->capabilities | caps_from_name("SETUID") |
                      caps_from_name("SETGID") | caps_from_name("SETPCAP") |
                      caps_from_name("KILL");
    int r = caps_effective(&left);
    left &= wanted & ~caps_from_name("SYS_ADMIN");
    if (r == 0)
        r = caps_bound(left);
    if (r == 0)
        r = caps_set(left);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: confine itself: ") : 0;
}

/* Of a view, whose root was not to be written to while the engine worked. mounts: their places
 * are still to be made, and the root is made read-only behind that. */
static int make_writable(const struct start *start, bool mounts, struct error *err)
{
    if (!(start->engine.flags & START_ENGINE_VIEW) ||
        ((start->flags & START_READ_ONLY) && !mounts))
        return 0;
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? -errno : mount_set_attributes(root, false, 0, MOUNT_ATTR_RDONLY, -EBADF);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: make the root writable: ") : 0;
}

static int load_filters(const struct inner_filters *filters, struct error *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
               ? fail(err, ERROR_SYSTEM, errno, "inner init: no_new_privs: ")
               : filter_load(filters->data, filters->length, FILTER_EARLY, err);
}

static int check_profile(struct error *err)
{
    int r = apparmor_check(LXC_PROFILE);
    return r < 0 ? fail(err, ERROR_SYSTEM, r,
                        "the engine has not entered the AppArmor profile " LXC_PROFILE ": ")
                 : 0;
}

/* The pod's root with all that is mounted there by now, in place of the one that the engine has
 * found. Of what the engine has made its proc stays, over the pod's. */
static int change_root(int root_fd, struct error *err)
{
    int r = root_attach(root_fd, err);
    if (r < 0)
        return r;
    _cleanup_close_ int place = open("proc", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (place < 0)
        return fail(err, ERROR_SYSTEM, errno, "inner init: /proc of the root: ");
    r = root_move("proc", place, err);
    return r < 0 ? r : root_enter(err);
}

static int mount_late(const struct start *start, enum engine_late late, int root_fd,
                      struct error *err)
{
    if (late == ENGINE_LATE_ROOT)
        return change_root(root_fd, err);
    int r = make_writable(start, late == ENGINE_LATE_MOUNTS, err);
    if (r < 0 || late == ENGINE_LATE_NOTHING)
        return r;
    return start->n_binds > 0 ? fail(err, ERROR_PROTOCOL, EPROTO, "inner init: binds")
                              : init_mount_all(start, NULL, err);
}

int inner_confine(const struct start *start, const struct inner_filters *filters,
                  enum engine_late late, int root_fd, struct error *err)
{
    int r = unpin_proc(err);
    if (r == 0 && (start->engine.flags & START_ENGINE_VIEW))
        r = mask_in_view(err);
    if (r == 0)
        r = mount_late(start, late, root_fd, err);
    if (r == 0)
        r = check_root(start->flags & START_READ_ONLY, err);
    if (r == 0 && (start->engine.flags & START_ENGINE_PROFILE))
        r = check_profile(err);
    if (r == 0)
        r = drop_capabilities(start, err);
    return r < 0 ? r : load_filters(filters, err);
}
