/* SPDX-License-Identifier: Apache-2.0 */
/* Generations that are received into datasets. An import is a dataset of its own, a clone of
 * the base where there is one; the template's dataset then becomes exactly what is in it, as by
 * a commit. Runs in isolated as root; the tree is hostile. */
#include "base/text.h"
#include "storage/arrival.h"
#include "storage/zfs_import.h"

static int arrival_begin(struct storage *storage, const char *template_name, const char *base,
                         struct storage_import *ret, struct error *err)
{
    char snapshot[ZFS_NAME_SIZE];
    zfs_name(storage, snapshot, "%s@%s", template_name, base);
    ret->is_layer = false;
    return zfs_import_make(storage, *base ? snapshot : NULL, ret->key, sizeof(ret->key),
                           &ret->tree_fd, err);
}

static int arrival_mount(struct storage *storage, const char *template_name, const char *base,
                         const struct storage_import *import, int *ret_mount, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    zfs_name(storage, dataset, "IMPORT-%s", import->key);
    return zfs_mount_dataset(dataset, true, ret_mount, err);
}

int zfs_arrival_check(struct storage *storage, const char *name,
                      const struct generation_arrival *arrival, struct error *err)
{
    struct template_info known;
    const char *current = NULL;
    bool is_there = false;
    _cleanup_generations_ struct generation_list list = {0};
    int r = zfs_find(storage, name, &known, err);
    if (r > 0)
        r = zfs_generations(storage, name, &list, err);
    if (r < 0)
        return r;
    if (list.n > 0)
        current = "";
    for (size_t i = 0; i < list.n; i++) {
        if (list.items[i].current)
            current = list.items[i].id;
        is_there = is_there || streq(list.items[i].id, arrival->id);
    }
    return arrival_check(name, arrival, current, is_there, err);
}

struct arriving {
    struct storage *storage;
    const char *name;
    const struct generation_arrival *arrival;
    const struct generation_about *about;
};

static int take(void *data, struct error *err)
{
    const struct arriving *arriving = data;
    const struct generation_arrival *arrival = arriving->arrival;
    int r = *arrival->base ? zfs_generation_expect(arriving->storage, arriving->name,
                                                   arrival->id, arrival->base, err)
                           : 0;
    return r < 0 ? r
                 : zfs_generation_take(arriving->storage, arriving->name, arrival->id,
                                       arriving->about, err);
}

static int arrival_publish(struct storage *storage, const struct storage_import *import,
                           const struct template_info *info,
                           const struct generation_arrival *arrival, struct error *err)
{
    const struct generation_about about = {arrival->pinned, arrival->created,
                                           arrival->identity};
    struct arriving arriving = {storage, info->name, arrival, &about};
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    int r = lock < 0 ? lock : zfs_arrival_check(storage, info->name, arrival, err);
    if (r < 0)
        return r;
    return *arrival->base
               ? zfs_import_publish_over(storage, import->key, info->name, take, &arriving, err)
               : zfs_import_publish(storage, import->key, info, take, &arriving, err);
}

const struct storage_arrivals zfs_arrivals = {
    .begin = arrival_begin,
    .mount = arrival_mount,
    .publish = arrival_publish,
    .natives = &zfs_natives,
};
