/* SPDX-License-Identifier: Apache-2.0 */
/* The driver `reflink`: generations and clones are directory trees whose files share their
 * content (FICLONE), on XFS, btrfs and bcachefs. A clone costs as much as the template has
 * entries; it is made ahead of time. Runs in isolated as root. */
#include "base/text.h"
#include "storage/arrival.h"
#include "storage/copy_tree.h"
#include "storage/drivers.h"
#include "storage/store_limit.h"
#include "storage/trees.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <linux/fs.h>
#include <sys/ioctl.h>

static const struct store_ops reflink_store = {
    .tree_make = store_directory_make,
    .tree_copy = copy_tree,
    .remove = tree_remove_until,
    .recover = trees_recover,
};

/* Whether files of this directory can share their content: 0 or -errno. */
static int probe(int dir_fd)
{
    _cleanup_close_ int dir = dir_open_at(dir_fd, ".");
    _cleanup_close_ int a =
        dir < 0 ? dir : openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    _cleanup_close_ int b = a < 0 ? a : openat(dir, ".", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (dir < 0)
        return dir;
    if (b < 0 || write(a, "x", 1) != 1)
        return -errno;
    return ioctl(b, FICLONE, a) < 0 ? -errno : 0;
}

static bool reflink_suits(int dir_fd)
{
    return probe(dir_fd) == 0;
}

static int reflink_open(struct storage *storage, struct error *err)
{
    /* asked once: what is there already works */
    bool is_new = file_exists_at(storage->dir_fd, "imports") == 0;
    int r = is_new ? probe(storage->dir_fd) : 0;
    if (r == -EOPNOTSUPP || r == -ENOTTY || r == -EINVAL || r == -EXDEV)
        return fail(
            err, ERROR_UNSUPPORTED, EOPNOTSUPP,
            "storage %s: files cannot share their content here (file systems that can: XFS, "
            "btrfs, bcachefs); use --storage=overlay, or "
            "--storage=reflink:LOCATION with a directory on one that can",
            storage->name);
    return r < 0 ? fail(err, error_code_of_errno(-r), r,
                        "storage %s: try a reflink: ", storage->name)
                 : store_make(storage, err);
}

const struct storage_driver storage_reflink = {
    .name = "reflink",
    .capabilities = STORAGE_TEMPLATES | STORAGE_DISPOSABLE | STORAGE_DIFF | STORAGE_LIMIT |
                    STORAGE_OWN_PAGES | STORAGE_VIEWS | STORAGE_ARRIVALS,
    .store = &reflink_store,
    .suits = reflink_suits,
    .open = reflink_open,
    .limit = store_limit,
    TREES_SLOTS,
};
