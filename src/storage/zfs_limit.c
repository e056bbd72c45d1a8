/* SPDX-License-Identifier: Apache-2.0 */
/* The limit of a clone that is a dataset. A clone refers to all that its snapshot has, so that
 * its refquota, which says how much is free in it, counts that as well; its quota counts what
 * is its own, which may also lie in place of what the snapshot has. */
#include "storage/zfs.h"

#include <inttypes.h>
#include <stdlib.h>

int zfs_limit(struct storage *storage, const char *name, uint64_t bytes, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char refquota[48];
    char quota[48];
    _cleanup_buffer_ struct buffer text = {0};
    zfs_name(storage, dataset, "%s", name);
    const char *const get[] = {"zfs",   "get",        "-H",    "-p", "-o",
                               "value", "referenced", dataset, NULL};
    int r = zfs_run(get, &text, err);
    uint64_t has = r == 0 && text.data ? strtoull(text.data, NULL, 10) : 0;
    (void)snprintf(refquota, sizeof(refquota), "refquota=%" PRIu64, has + bytes);
    (void)snprintf(quota, sizeof(quota), "quota=%" PRIu64, bytes);
    if (r == 0)
        r = ZFS(err, "set", quota, dataset);
    if (r == 0)
        r = ZFS(err, "set", refquota, dataset);
    return r < 0 ? error_prefix(err, r, "clone %s: limit its disk space: ", name) : 0;
}
