/* SPDX-License-Identifier: Apache-2.0 */
/* Templates of the ZFS driver: datasets, made by isolate or registered; how they and their
 * generations go. Runs in isolated as root. */
#include "base/text.h"
#include "storage/store_json.h"
#include "storage/zfs_view.h"
#include "sys/fd.h"
#include "sys/tree.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/stat.h>

int zfs_find(struct storage *storage, const char *name, struct template_info *ret,
             struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%.63s/template.json", name);
    json_t *value = store_json_read(storage->dir_fd, path);
    if (!value)
        return 0;
    const char *source = json_string_value(json_object_get(value, "source"));
    (void)snprintf(ret->name, sizeof(ret->name), "%.63s", name);
    (void)snprintf(ret->source, sizeof(ret->source), "%s", source ? source : "");
    json_decref(value);
    return 1;
}

int zfs_templates(struct storage *storage, struct template_list *ret, struct error *err)
{
    return store_list_templates(storage, zfs_find, ret, err);
}

int zfs_template_need(struct storage *storage, const char *name, struct error *err)
{
    struct template_info info;
    int r = zfs_find(storage, name, &info, err);
    return r > 0 ? 0
                 : fail(err, ERROR_NOT_FOUND, ENOENT,
                        "template \"%s\": there is none; see `isolate template ls`", name);
}

int zfs_template_write(struct storage *storage, const struct template_info *info,
                       struct error *err)
{
    char path[128];
    (void)snprintf(path, sizeof(path), "templates/%s", info->name);
    _cleanup_close_ int dir = dir_make_at(storage->dir_fd, path, 0700);
    int r = dir < 0 ? dir : store_template_write(dir, info);
    return r < 0 ? fail(err, error_code_of_errno(-r), r,
                        "template \"%s\": write it down: ", info->name)
                 : 0;
}

/* Nobody changes templates, makes an intermediate or begins a clone meanwhile. */
struct removing {
    int change;
    int shift;
    int store;
};

static int begin_removing(struct storage *storage, struct removing *ret, struct error *err)
{
    ret->change = zfs_change_lock(storage, !storage->is_hurried, err);
    if (ret->change < 0)
        return ret->change;
    ret->shift = zfs_shift_lock(storage, !storage->is_hurried, err);
    if (ret->shift < 0)
        return ret->shift;
    ret->store = store_lock(storage, true, err);
    return ret->store < 0 ? ret->store : 0;
}

static void end_removing(struct removing *locks)
{
    fd_close(locks->store);
    fd_close(locks->shift);
    fd_close(locks->change);
}

#define NOT_REMOVING                                                                           \
    {                                                                                          \
        -EBADF, -EBADF, -EBADF                                                                 \
    }

int zfs_remove_generation(struct storage *storage, const char *name, const char *generation,
                          struct error *err)
{
    char snapshot[ZFS_NAME_SIZE];
    struct store_generation found;
    _cleanup_(end_removing) struct removing locks = NOT_REMOVING;
    int r = begin_removing(storage, &locks, err);
    if (r == 0)
        r = zfs_resolve(storage, name, generation, &found, err);
    if (r < 0)
        return r;
    if (found.generation.current)
        return fail(err, ERROR_BUSY, EBUSY,
                    "template \"%s\": generation %s is the current one; roll back to another "
                    "first, or remove the template",
                    name, generation);
    r = zfs_shift_remove(storage, name, generation, err);
    if (r < 0)
        return r;
    zfs_name(storage, snapshot, "%s@%s", name, generation);
    r = ZFS(err, "destroy", "-d", snapshot); /* at once, or with its last clone */
    return r < 0 && r != -ENOENT
               ? error_prefix(err, r, "template \"%s\": remove generation %s: ", name,
                              generation)
               : 0;
}

int zfs_dispose(struct storage *storage, const char *dataset, struct error *err)
{
    char gone[ZFS_NAME_SIZE];
    struct timespec now;
    struct zfs_dataset of;
    int r = zfs_get(dataset, &of, err);
    if (r < 0 || !*of.type)
        return r;
    zfs_unmount_visibly(&of);
    if (zfs_destroy_now(dataset) == 0)
        return 0;
    (void)clock_gettime(CLOCK_REALTIME, &now);
    zfs_name(storage, gone, "GONE-%" PRIu64 "%09ld", (uint64_t)now.tv_sec, now.tv_nsec);
    r = ZFS(err, "set", "io.isolate:import=gone", dataset);
    /* only a template's own name is wanted again */
    return r < 0 || strchr(strrchr(dataset, '/'), ':')
               ? r
               : zfs_again(err, "rename", dataset, gone);
}

int zfs_remove_template(struct storage *storage, const char *name, struct error *err)
{
    char dataset[ZFS_NAME_SIZE];
    char path[128];
    struct zfs_dataset of;
    _cleanup_(end_removing) struct removing locks = NOT_REMOVING;
    int r = begin_removing(storage, &locks, err);
    if (r == 0)
        r = zfs_template_need(storage, name, err);
    if (r < 0)
        return r;
    zfs_name(storage, dataset, "%s", name);
    r = zfs_get(dataset, &of, err);
    if (r == 0 && !*of.type && zfs_explain_missing(dataset, err) == -ENODEV)
        return -ENODEV; /* it would be there again, and nobody's */
    if (r == 0)
        r = zfs_shift_remove(storage, name, NULL, err);
    if (r < 0)
        return r;
    (void)snprintf(path, sizeof(path), "templates/%s/template.json", name);
    if (unlinkat(storage->dir_fd, path, 0) < 0 && errno != ENOENT)
        return fail(err, ERROR_SYSTEM, errno, "template \"%s\": remove: ", name);
    (void)snprintf(path, sizeof(path), "templates/%s", name);
    r = tree_remove(storage->dir_fd, path);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "template \"%s\": remove: ", name);
    if (!*of.template_name)
        return 0;
    /* what an administrator has made stays, as it is */
    r = of.made ? zfs_dispose(storage, dataset, err)
                : ZFS(err, "inherit", "io.isolate:template", dataset);
    return r < 0 ? error_prefix(err, r, "template \"%s\": remove: ", name) : 0;
}
