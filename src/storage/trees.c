/* SPDX-License-Identifier: Apache-2.0 */
/* Clones that are whole trees. Runs in isolated as root; what a sandbox left is hostile and is
 * only mounted and measured here. */
#include "storage/trees.h"
#include "storage/store_limit.h"

#include "base/text.h"
#include "storage/compare.h"
#include "storage/store_commit.h"
#include "sys/fd.h"
#include "sys/mount.h"

#include <fcntl.h>
#include <string.h>
#include <sys/stat.h>

static int layer_tree_open(struct storage *storage, const struct layer_stack *stack)
{
    char path[80];
    (void)snprintf(path, sizeof(path), "layers/%s/tree", stack->items[0].id);
    int fd = openat(storage->dir_fd, path, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? -errno : fd;
}

int trees_open_base(struct storage *storage, const struct store_clone *clone, struct error *err)
{
    int fd = layer_tree_open(storage, &clone->stack);
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "clone %s: its generation: ", clone->name) : fd;
}

int trees_open_clone(struct storage *storage, const char *name, struct error *err)
{
    _cleanup_close_ int dir = store_clone_open(storage, name, err);
    if (dir < 0)
        return dir;
    int fd = openat(dir, "tree", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    return fd < 0 ? fail(err, ERROR_SYSTEM, errno, "clone %s: its tree: ", name) : fd;
}

int trees_mount_generation(struct storage *storage, const char *template_name,
                           const char *generation, int *ret_mount, struct error *err)
{
    struct store_generation found = {0};
    _cleanup_close_ int lock =
        store_generation_take(storage, template_name, generation, false, &found, err);
    if (lock < 0)
        return lock;
    _cleanup_close_ int tree = layer_tree_open(storage, &found.stack);
    _cleanup_close_ int mount = tree < 0 ? tree : mount_open_tree(tree, "", false);
    int r = mount < 0
                ? mount
                : mount_set_attributes(mount, false,
                                       MOUNT_ATTR_RDONLY | MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV,
                                       0, -EBADF);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r,
                    "template \"%s\": show generation %s: ", template_name,
                    found.generation.id);
    *ret_mount = TAKE_FD(mount);
    return 0;
}

/* Complete before it has its name: a half-made one is never mounted. */
static int fill(struct storage *storage, int clone_fd, const struct store_clone *clone,
                int root_fd, struct error *err)
{
    _cleanup_close_ int base = trees_open_base(storage, clone, err);
    _cleanup_close_ int from = base < 0 ? base : dir_open_at(base, ".");
    _cleanup_close_ int dir = from < 0 ? from : dir_open_at(clone_fd, ".");
    if (base < 0)
        return base;
    if (dir < 0)
        return fail(err, ERROR_SYSTEM, dir, "clone %s: ", clone->name);
    const struct store_ops *ops = storage->driver->store;
    int r = store_project_assign(clone_fd, clone, err);
    if (r < 0)
        return r;
    _cleanup_close_ int other =
        ops->tree_source ? ops->tree_source(storage, clone->stack.items[0].id) : -ENOENT;
    r = ops->tree_copy(other < 0 ? from : other, dir, "partial", err);
    if (r < 0)
        return error_prefix(err, r, "clone %s: ", clone->name);
    if (clone->durable && syncfs(dir) < 0)
        return fail(err, ERROR_SYSTEM, errno, "clone %s: write it to the disk: ", clone->name);
    return renameat(dir, "partial", dir, "tree") < 0
               ? fail(err, ERROR_SYSTEM, errno, "clone %s: ", clone->name)
               : 0;
}

int trees_clone(struct storage *storage, const struct clone_request *request, struct error *err)
{
    if (!request->template_name)
        return storage_require(storage, STORAGE_ROOTS, "run on a directory", err);
    return store_clone_make(storage, request, fill, err);
}

int trees_mount(struct storage *storage, const char *name, int userns_fd, int root_fd,
                int *ret_mount, struct error *err)
{
    _cleanup_close_ int tree = trees_open_clone(storage, name, err);
    if (tree < 0)
        return tree;
    _cleanup_close_ int mount = mount_open_tree(tree, "", false);
    if (mount < 0)
        return fail(err, ERROR_SYSTEM, mount, "clone %s: mount: ", name);
    /* a read would change the time of access, and so copy metadata */
    int r = mount_set_attributes(mount, false,
                                 MOUNT_ATTR_NOSUID | MOUNT_ATTR_NODEV | MOUNT_ATTR_NOATIME,
                                 MOUNT_ATTR__ATIME, userns_fd);
    if (r == -EINVAL || r == -EPERM)
        return fail(err, ERROR_UNSUPPORTED, r,
                    "storage %s: this kernel cannot id-map its file system; use "
                    "--storage=overlay",
                    storage->name);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "clone %s: id-map it: ", name);
    *ret_mount = TAKE_FD(mount);
    return 0;
}

/* A commit copies the tree and a start of a kept clone trusts nothing in it: who still has an
 * fd of it changes only what its own owner runs. */
int trees_settle(struct storage *storage, int mount_fd)
{
    return 0;
}

struct measure {
    int tree;
    uint64_t bytes;
};

static int measure_change(void *data, enum diff_kind kind, const char *path)
{
    struct measure *measure = data;
    const char *name = NULL;
    struct stat st;
    if (kind == DIFF_DELETED || streq(path, "/"))
        return 0;
    _cleanup_close_ int parent = store_open_parent(measure->tree, path, &name);
    if (parent >= 0 && fstatat(parent, name, &st, AT_SYMLINK_NOFOLLOW) == 0)
        measure->bytes += (uint64_t)st.st_blocks * 512;
    return 0;
}

/* What it does not share, as far as files go: those that were changed count whole. */
int trees_usage(struct storage *storage, const char *name, uint64_t *ret_bytes,
                struct error *err)
{
    struct measure measure = {.tree = trees_open_clone(storage, name, err)};
    if (measure.tree < 0)
        return measure.tree;
    int r = trees_diff(storage, name, NULL, measure_change, &measure, err);
    fd_close(measure.tree);
    *ret_bytes = measure.bytes;
    return r;
}
