/* SPDX-License-Identifier: Apache-2.0 */
/* What clones are snapshots of, where there are many at once. A snapshot counts itself as one
 * more user of each block that its root block points to; the longer the lists of users, the
 * more has to be written by the commit that the snapshot waits for: with 1,000 snapshots of one
 * tree of 8,700 entries ten times as long as with none. So there are more trees with the same
 * in them, one for some dozens of clones, each with blocks of its own:
 *
 *   layers/ID/copy-N
 *
 * They share the files' content (reflinks) and go with their layer. Runs in isolated as root.
 */
#include "base/text.h"
#include "storage/btrfs.h"
#include "storage/copy_tree.h"
#include "sys/fd.h"

#include <btrfsutil.h>
#include <dirent.h>
#include <linux/btrfs.h>
#include <linux/btrfs_tree.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/stat.h>

#define CLONES_PER_TREE 32
#define COPIES_MAX      63

#define COPY_NAME_SIZE (LAYER_ID_SIZE + 16)

int btrfs_item_read(int fd, const struct btrfs_item *item, void *ret, size_t size)
{
    struct btrfs_ioctl_search_header header;
    struct btrfs_ioctl_search_args search = {
        .key =
            {
                .tree_id = item->tree,
                .min_objectid = item->id,
                .max_objectid = item->id,
                .min_type = item->type,
                .max_type = item->type,
                .min_offset = item->offset,
                .max_offset = item->any_offset ? UINT64_MAX : item->offset,
                .max_transid = UINT64_MAX,
                .nr_items = 1,
            },
    };
    if (ioctl(fd, BTRFS_IOC_TREE_SEARCH, &search) < 0)
        return -errno;
    memcpy(&header, search.buf, sizeof(header));
    if (search.key.nr_items != 1)
        return -ENODATA;
    size_t length = header.len < size ? header.len : size;
    memcpy(ret, search.buf + sizeof(header), length);
    return (int)length;
}

/* How many levels of blocks lead from the root of the subvolume to its leaves, or -errno. */
static int tree_levels(int tree_fd)
{
    struct btrfs_root_item root = {0};
    struct btrfs_item item = {
        .tree = BTRFS_ROOT_TREE_OBJECTID, .type = BTRFS_ROOT_ITEM_KEY, .any_offset = true};
    if (btrfs_util_subvolume_id_fd(tree_fd, &item.id) != BTRFS_UTIL_OK)
        return -errno;
    int r = btrfs_item_read(tree_fd, &item, &root, sizeof(root));
    if (r < 0)
        return r;
    return r <= (int)offsetof(struct btrfs_root_item, level) ? -ENODATA : root.level;
}

/* All of the storage: those of other templates make no more than copies too early. */
static unsigned count_clones(struct storage *storage)
{
    unsigned n = 0;
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(storage->dir_fd, "clones"));
    while (dir && readdir(dir))
        n++;
    return n;
}

/* The name is there when the copy is complete. One that another has made meanwhile is as good.
 */
static int make_copy(int layer_fd, int tree_fd, const char *name)
{
    char key[LAYER_ID_SIZE];
    char partial[COPY_NAME_SIZE];
    store_layer_key(key, sizeof(key));
    (void)snprintf(partial, sizeof(partial), "partial-%s", key);
    int r = btrfs_tree_make(layer_fd, partial);
    if (r < 0)
        return r;
    _cleanup_close_ int copy = dir_open_at(layer_fd, partial);
    r = copy < 0 ? copy : fchmod(copy, 0700) < 0 ? -errno : 0;
    if (r == 0)
        r = copy_tree_into(tree_fd, copy, NULL);
    if (r == 0)
        r = btrfs_tree_seal(copy);
    if (r == 0 && renameat(layer_fd, partial, layer_fd, name) < 0)
        r = -errno;
    if (r < 0)
        (void)!btrfs_tree_delete(layer_fd, partial);
    return r;
}

/* Which of them: the later of any two. So the early ones get few more while clones become more,
 * and none gets more than twice its share where they come and go. */
static unsigned choose(unsigned clones)
{
    uint32_t random[2];
    unsigned copies = clones / CLONES_PER_TREE;
    unsigned trees = (copies < COPIES_MAX ? copies : COPIES_MAX) + 1;
    random_fill(random, sizeof(random));
    unsigned a = random[0] % trees;
    unsigned b = random[1] % trees;
    return a > b ? a : b;
}

int btrfs_tree_source(struct storage *storage, const char *layer)
{
    char path[LAYER_ID_SIZE + 16];
    char name[COPY_NAME_SIZE];
    unsigned n = choose(count_clones(storage));
    if (n == 0)
        return -ENOENT;
    (void)snprintf(path, sizeof(path), "layers/%s", layer);
    (void)snprintf(name, sizeof(name), "copy-%u", n);
    _cleanup_close_ int layer_fd = dir_open_at(storage->dir_fd, path);
    if (layer_fd < 0)
        return layer_fd;
    int fd = dir_open_at(layer_fd, name);
    if (fd != -ENOENT)
        return fd;
    _cleanup_close_ int tree = dir_open_at(layer_fd, "tree");
    /* the roots of trees with more levels point to few blocks */
    if (tree < 0 || tree_levels(tree) > 1)
        return -ENOENT;
    int r = make_copy(layer_fd, tree, name);
    return r < 0 && r != -EEXIST && r != -ENOTEMPTY ? r : dir_open_at(layer_fd, name);
}
