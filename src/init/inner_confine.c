/* SPDX-License-Identifier: Apache-2.0 */
/* What the sandbox owes to the engine that made it is looked at before the first command, not
 * trusted; what the engine left to the inner init is done. Runs in the inner init. */
#include "init/engine.h"
#include "sys/caps.h"
#include "sys/fd.h"
#include "sys/filter_load.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <linux/magic.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/statfs.h>
#include <sys/statvfs.h>

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

/* A proc of the pod's, which the engine needed to see, and what was needed to take it away. */
static int unpin_proc(struct error *err)
{
    struct statfs found;
    uint64_t left = 0;
    int r = 0;
    while (r == 0 && statfs(ENGINE_PINNED_PROC, &found) == 0 &&
           found.f_type == PROC_SUPER_MAGIC)
        r = mount_detach(ENGINE_PINNED_PROC);
    if (r == 0)
        r = caps_effective(&left);
    left &= ~caps_from_name("SYS_ADMIN");
    if (r == 0)
        r = caps_bound(left);
    if (r == 0)
        r = caps_set(left);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: " ENGINE_PINNED_PROC ": ") : 0;
}

/* Of a view, whose root was not to be written to while the engine worked. */
static int make_writable(const struct start *start, struct error *err)
{
    if (!(start->engine.flags & START_ENGINE_VIEW) || (start->flags & START_READ_ONLY))
        return 0;
    _cleanup_close_ int root = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = root < 0 ? -errno : mount_set_attributes(root, false, 0, MOUNT_ATTR_RDONLY, -EBADF);
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "inner init: make the root writable: ") : 0;
}

static int load_filters(const struct inner_filters *filters, struct error *err)
{
    return prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0
               ? fail(err, ERROR_SYSTEM, errno, "inner init: no_new_privs: ")
               : filter_load(filters->data, filters->length, err);
}

static int check_filters(struct error *err)
{
    if (prctl(PR_GET_SECCOMP) == SECCOMP_MODE_FILTER &&
        prctl(PR_GET_NO_NEW_PRIVS, 0, 0, 0, 0) == 1)
        return 0;
    return fail(err, ERROR_SYSTEM, EPERM, "the engine has loaded no system call filter");
}

int inner_confine(const struct start *start, const struct inner_filters *filters,
                  struct error *err)
{
    int r = check_root(start->flags & START_READ_ONLY, err);
    if (r == 0)
        r = make_writable(start, err);
    if (r == 0 && filters->data)
        r = unpin_proc(err);
    if (r < 0)
        return r;
    return filters->data ? load_filters(filters, err) : check_filters(err);
}
