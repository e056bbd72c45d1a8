/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of a clone that is a directory: a project of ext4 or XFS, with one of the ids that
 * its sandbox has, which no other uses. Runs in isolated as root. */
#include "storage/store_limit.h"

#include "spec/limits.h"
#include "sys/fd.h"
#include "sys/project.h"
#include "sys/userns.h"

#include <errno.h>

static struct project_range range_of(const struct store_clone *clone)
{
    return (struct project_range){clone->first_id, USERNS_RANGE};
}

int store_project_assign(int clone_fd, const struct store_clone *clone, struct error *err)
{
    _cleanup_close_ int dir = dir_open_at(clone_fd, ".");
    int r = dir < 0 ? dir : project_assign(dir, range_of(clone));
    return r < 0
               ? fail(err, ERROR_SYSTEM, r, "clone %s: a project for its quota: ", clone->name)
               : 0;
}

static void with_project(int clone_fd, const struct store_clone *clone,
                         void (*change)(int dir_fd, struct project_range range))
{
    _cleanup_close_ int dir = dir_open_at(clone_fd, ".");
    if (dir >= 0)
        change(dir, range_of(clone));
}

void store_project_relax(int clone_fd, const struct store_clone *clone)
{
    with_project(clone_fd, clone, project_relax);
}

void store_project_tighten(int clone_fd, const struct store_clone *clone)
{
    with_project(clone_fd, clone, project_tighten);
}

int store_project_limit(struct storage *storage, const char *name, uint64_t bytes,
                        struct error *err)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_close_ int fd = store_clone_open(storage, name, err);
    int r = fd < 0 ? fd : store_clone_read(storage, name, &clone, err);
    if (r < 0)
        return r;
    _cleanup_close_ int dir = dir_open_at(fd, ".");
    r = dir < 0 ? dir : project_limit(dir, range_of(&clone), bytes, limit_inodes(bytes));
    return r < 0 && r != -EOPNOTSUPP
               ? fail(err, ERROR_SYSTEM, r, "clone %s: limit its disk space: ", name)
               : r;
}

int store_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err)
{
    int r = store_project_limit(storage, name, bytes, err);
    return r == -EOPNOTSUPP
               ? fail(err, ERROR_UNSUPPORTED, r,
                      "storage %s: a limit of disk space needs the file system's project "
                      "quotas, which XFS has with the mount option prjquota, and no other "
                      "project may be around the storage's directory; or use --storage=overlay",
                      storage->name)
               : r;
}

void store_project_release(struct storage *storage, const char *name)
{
    _cleanup_store_clone_ struct store_clone clone = {0};
    _cleanup_close_ int fd = store_clone_open(storage, name, NULL);
    _cleanup_close_ int dir = fd < 0 ? fd : dir_open_at(fd, ".");
    if (dir < 0 || project_of(dir) == 0)
        return;
    if (store_clone_read(storage, name, &clone, NULL) == 0)
        project_release(dir, range_of(&clone));
}
