/* SPDX-License-Identifier: Apache-2.0 */
/* Which storage drivers there are. Runs in isolated as root; names come from callers. */
#include "base/text.h"
#include "storage/drivers.h"
#include "storage/location.h"
#include "storage/room.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>
#include <sys/statvfs.h>

/* the first is the default */
const struct storage_driver *const storage_drivers[] = {
    &storage_overlay, &storage_btrfs, &storage_reflink, &storage_zfs, &storage_dir, NULL,
};

const struct storage_driver *const storage_by_preference[] = {
    &storage_zfs, &storage_btrfs, &storage_overlay, &storage_reflink, NULL,
};

static int unknown_driver(const char *name, struct error *err)
{
    const char *known[ELEMENTS(storage_drivers)];
    size_t n = 0;
    for (; storage_drivers[n]; n++)
        known[n] = storage_drivers[n]->name;
    const char *nearest = text_nearest(name, known, n);
    return fail(err, ERROR_NOT_FOUND, ENOENT, "storage \"%.40s\": no such driver; %s%s%s", name,
                nearest ? "did you mean \"" : "there are: overlay, btrfs, reflink, zfs, dir",
                nearest ? nearest : "", nearest ? "\"?" : "");
}

int storage_driver_find(const char *name, const struct storage_driver **ret, struct error *err)
{
    size_t length = strcspn(name, ":");
    for (size_t i = 0; storage_drivers[i]; i++) {
        if (strlen(storage_drivers[i]->name) == length &&
            strncmp(storage_drivers[i]->name, name, length) == 0) {
            *ret = storage_drivers[i];
            return 0;
        }
    }
    return unknown_driver(name, err);
}

/* What holds the driver's own directory, and its name in there. */
static int open_place(const struct storage_driver *driver, const char *name, int state_fd,
                      char ret_name[static STORAGE_NAME_SIZE], struct error *err)
{
    const char *colon = strchr(name, ':');
    (void)snprintf(ret_name, STORAGE_NAME_SIZE, "%s", driver->name);
    if (!(driver->capabilities & STORAGE_DATASETS)) {
        int place = colon ? location_open(name, err) : dup_cloexec(state_fd);
        return place < 0 && !colon ? fail(err, ERROR_SYSTEM, place, "storage %s: ", name)
                                   : place;
    }
    if (!colon)
        return fail(err, ERROR_INVALID, EINVAL,
                    "storage %s: it needs a dataset to put templates in: --storage "
                    "%s:POOL/DATASET",
                    driver->name, driver->name);
    int fd = dir_make_at(state_fd, driver->name, 0700);
    (void)snprintf(ret_name, STORAGE_NAME_SIZE, "%s", colon + 1);
    for (char *p = ret_name; *p; p++)
        if (*p == '/')
            *p = '%'; /* which no dataset has in its name */
    return fd < 0 ? fail(err, error_code_of_errno(-fd), fd, "storage %s: ", driver->name) : fd;
}

int storage_open(const char *name, int state_fd, struct storage *ret, struct error *err)
{
    name = name ? name : storage_drivers[0]->name;
    const struct storage_driver *driver = NULL;
    int r = storage_driver_find(name, &driver, err);
    if (r < 0)
        return r;
    struct storage storage = {.driver = driver, .dir_fd = -EBADF, .import_fd = -EBADF};
    (void)snprintf(storage.name, sizeof(storage.name), "%s", name);
    char own[STORAGE_NAME_SIZE];
    _cleanup_close_ int place = open_place(driver, name, state_fd, own, err);
    if (place < 0)
        return place;
    storage.dir_fd = dir_make_at(place, own, 0700);
    if (storage.dir_fd < 0)
        return fail(err, error_code_of_errno(-storage.dir_fd), storage.dir_fd,
                    "storage %s: its directory: ", name);
    r = driver->open(&storage, err);
    if (r == 0) {
        *ret = storage;
        return 0;
    }
    storage_close(&storage);
    (void)unlinkat(place, own, AT_REMOVEDIR); /* it is still empty where it was made just now */
    return r;
}

void storage_close(struct storage *storage)
{
    if (storage->driver) {
        storage->dir_fd = fd_close(storage->dir_fd);
        storage->import_fd = fd_close(storage->import_fd);
    }
    storage->driver = NULL;
}

void storage_discard(struct storage *storage, int state_fd)
{
    static const char *const empty[] = {"templates", "clones", "layers", "imports", "trash"};
    char own[STORAGE_NAME_SIZE];
    _cleanup_close_ int place =
        storage->driver ? open_place(storage->driver, storage->name, state_fd, own, NULL)
                        : -EBADF;
    bool is_empty = place >= 0;
    for (size_t i = 0; is_empty && i < ELEMENTS(empty); i++)
        is_empty = unlinkat(storage->dir_fd, empty[i], AT_REMOVEDIR) == 0 || errno == ENOENT;
    if (is_empty) {
        (void)unlinkat(storage->dir_fd, "lock", 0);
        (void)unlinkat(place, own, AT_REMOVEDIR);
    }
    storage_close(storage);
}

int storage_require(const struct storage *storage, enum storage_capability capability,
                    const char *operation, struct error *err)
{
    if (storage->driver->capabilities & capability)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "storage %s cannot %s; use --storage=%s",
                storage->name, operation, storage_drivers[0]->name);
}

int storage_advise(const struct storage *storage, int result, struct error *err)
{
    if (result != -ENOSPC && result != -EDQUOT)
        return result;
    return error_suffix(err, result,
                        "; free space in storage %s (see `isolate template rm "
                        "NAME@GENERATION`, `isolate prune`), or %s",
                        storage->name,
                        result == -EDQUOT ? "raise its quota" : "use a larger one");
}

int storage_room(const struct storage *storage, int mount_fd, struct storage_room *ret)
{
    struct statvfs st;
    if (storage->driver->room)
        return storage->driver->room(mount_fd, ret);
    if (fstatvfs(mount_fd, &st) < 0)
        return -errno;
    *ret = (struct storage_room){
        .bytes = (uint64_t)st.f_bavail * st.f_frsize,
        .inodes = st.f_files > 0 ? st.f_favail : UINT64_MAX,
    };
    return 0;
}

void generation_list_clear(struct generation_list *list)
{
    freep(&list->items);
    list->n = 0;
}

void template_list_clear(struct template_list *list)
{
    freep(&list->items);
    list->n = 0;
}

void clone_list_clear(struct clone_list *list)
{
    freep(&list->items);
    list->n = 0;
}

int generation_unknown(const char *template_name, const char *generation, struct error *err)
{
    return fail(
        err, ERROR_NOT_FOUND, ENOENT,
        "template \"%s\" has no generation \"%.40s\"; see `isolate template inspect %s`",
        template_name, generation, template_name);
}

void generation_name(time_t now, unsigned serial, char ret[static GENERATION_SIZE])
{
    struct tm utc;
    char stamp[GENERATION_SIZE];
    (void)gmtime_r(&now, &utc);
    (void)strftime(stamp, sizeof(stamp), "%Y%m%dT%H%M%SZ", &utc);
    if (serial > 0)
        (void)snprintf(ret, GENERATION_SIZE, "%.16s-%u", stamp, serial % 10000);
    else
        (void)snprintf(ret, GENERATION_SIZE, "%.16s", stamp);
}
