/* SPDX-License-Identifier: Apache-2.0 */
/* How an administrator's dataset becomes a template. Runs in isolated as root. */
#include "base/text.h"
#include "storage/zfs_view.h"
#include "sys/fd.h"

static int look_for_ours(void *data, const char *name, const char *value)
{
    bool *found = data;
    *found = *found || !streq(value, "-");
    return 0;
}

/* All that can be said against a dataset is said before anything of the machine changes. */
static int check_template(struct storage *storage, const char *name, const char *dataset,
                          const struct zfs_dataset *of, struct error *err)
{
    bool is_place = false;
    struct storage below = {.driver = storage->driver, .dir_fd = -EBADF, .import_fd = -EBADF};
    _cleanup_generations_ struct generation_list list = {0};
    if (*of->clone || *of->import)
        return fail(err, ERROR_INVALID, EINVAL,
                    "dataset %s is a clone that isolate has made, no template", dataset);
    (void)snprintf(below.name, sizeof(below.name), "zfs:%.200s", dataset);
    int r = zfs_for_each_child(&below, "io.isolate:template", look_for_ours, &is_place, err);
    if (r == 0 && is_place)
        return fail(err, ERROR_INVALID, EINVAL,
                    "dataset %s has templates in it, so it is none; name one of them: %s/NAME",
                    dataset, dataset);
    if (r == 0)
        r = zfs_list_generations(storage, name, &list, err);
    return r == 0 && list.n == 0 ? zfs_fail_without_snapshot(storage, name, err) : r;
}

int zfs_register(struct storage *storage, const char *name, const char *source,
                 struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char property[128];
    struct zfs_dataset of;
    _cleanup_close_ int lock = zfs_change_lock(storage, true, err);
    if (lock < 0)
        return lock;
    zfs_name(storage, dataset, "%s", name);
    int r = zfs_get_chosen(dataset, &of, err);
    if (r < 0)
        return error_prefix(err, r, "template \"%s\": ", name);
    r = check_template(storage, name, dataset, &of, err);
    if (r == 0)
        r = zfs_close_parent(storage, name, err);
    if (r < 0)
        return r;
    (void)snprintf(property, sizeof(property), "io.isolate:template=%s", name);
    r = ZFS(err, "set", property, dataset);
    if (r < 0)
        return error_prefix(err, r, "template \"%s\": register %s: ", name, dataset);
    struct template_info info = {0};
    (void)snprintf(info.name, sizeof(info.name), "%s", name);
    (void)snprintf(info.source, sizeof(info.source), "%s", source);
    return zfs_template_write(storage, &info, err);
}
