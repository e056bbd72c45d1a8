/* SPDX-License-Identifier: Apache-2.0 */
/* Pools that do not answer. One whose disks have failed is suspended (failmode=wait): whoever
 * asks it something waits in the kernel, and cannot be killed, until `zpool clear`. So it is
 * looked for before each call, and again while one takes its time. Runs in isolated as root;
 * reads what the kernel says of the pool. */
#include "base/text.h"
#include "storage/zfs.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

#define ANSWER_MS 120000 /* no single change of a pool takes as long */

int zfs_check_pool(const char *dataset, struct error *err)
{
    char path[ZFS_NAME_SIZE + 32];
    int length = (int)strcspn(dataset, "/@");
    _cleanup_buffer_ struct buffer state = {0};
    (void)snprintf(path, sizeof(path), "/proc/spl/kstat/zfs/%.*s/state", length, dataset);
    /* zfs-fuse does not say */
    if (file_read_at(AT_FDCWD, path, 64, &state) < 0 || !state.data ||
        !text_after(state.data, "SUSPENDED"))
        return 0;
    return fail(err, ERROR_SYSTEM, EIO,
                "pool \"%.*s\" is suspended, because its disks have failed: see `zpool status "
                "-x`; when they are there again: zpool clear %.*s",
                length, dataset, length, dataset);
}

static int look(void *data, uint64_t running_ms, struct error *err)
{
    const char *dataset = data;
    int r = zfs_check_pool(dataset, err);
    if (r < 0 || running_ms < ANSWER_MS)
        return r;
    return fail(
        err, ERROR_SYSTEM, ETIMEDOUT,
        "dataset %s: ZFS has not answered for %d s; see `zpool status` and the kernel's "
        "log",
        dataset, ANSWER_MS / 1000);
}

static int look_patiently(void *data, uint64_t running_ms, struct error *err)
{
    return zfs_check_pool(data, err);
}

struct program_watch zfs_watch_patiently(const char *dataset)
{
    return (struct program_watch){look_patiently, (void *)dataset};
}

struct program_watch zfs_watch(const char *dataset)
{
    return (struct program_watch){look, (void *)dataset};
}
