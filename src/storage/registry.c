/* SPDX-License-Identifier: Apache-2.0 */
/* Which storage drivers there are. Runs in isolated as root; names come from callers. */
#include "base/text.h"
#include "storage/drivers.h"
#include "storage/location.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <string.h>

/* the first is the default */
const struct storage_driver *const storage_drivers[] = {
    &storage_overlay, &storage_btrfs, &storage_reflink, &storage_dir, NULL,
};

const struct storage_driver *const storage_by_preference[] = {
    &storage_btrfs,
    &storage_overlay,
    &storage_reflink,
    NULL,
};

static int unknown_driver(const char *name, struct error *err)
{
    const char *known[ELEMENTS(storage_drivers)];
    size_t n = 0;
    for (; storage_drivers[n]; n++)
        known[n] = storage_drivers[n]->name;
    static const char *const planned[] = {"zfs"};
    for (size_t i = 0; i < ELEMENTS(planned); i++)
        if (text_after(name, planned[i]))
            return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                        "storage \"%s\": not in this version of isolate yet; use "
                        "--storage=overlay",
                        name);
    const char *nearest = text_nearest(name, known, n);
    return fail(err, ERROR_NOT_FOUND, ENOENT, "storage \"%.40s\": no such driver; %s%s%s", name,
                nearest ? "did you mean \"" : "there are: overlay, btrfs, reflink, dir",
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

/* The driver's own directory, made where it is missing. */
static int open_directory(const struct storage_driver *driver, const char *location,
                          int state_fd, struct error *err)
{
    _cleanup_close_ int at = location ? location_open(location, err) : -EBADF;
    if (location && at < 0)
        return at;
    int fd = dir_make_at(location ? at : state_fd, driver->name, 0700);
    return fd < 0 ? fail(err, error_code_of_errno(-fd), fd,
                         "storage %s: its directory: ", driver->name)
                  : fd;
}

int storage_open(const char *name, int state_fd, struct storage *ret, struct error *err)
{
    name = name ? name : storage_drivers[0]->name;
    const char *colon = strchr(name, ':');
    const struct storage_driver *driver = NULL;
    int r = storage_driver_find(name, &driver, err);
    if (r < 0)
        return r;
    struct storage storage = {.driver = driver, .dir_fd = -EBADF};
    (void)snprintf(storage.name, sizeof(storage.name), "%s", name);
    storage.dir_fd = open_directory(driver, colon ? colon + 1 : NULL, state_fd, err);
    if (storage.dir_fd < 0)
        return storage.dir_fd;
    r = driver->open(&storage, err);
    if (r == 0) {
        *ret = storage;
        return 0;
    }
    storage_close(&storage);
    _cleanup_close_ int at = colon ? location_open(colon + 1, NULL) : dup_cloexec(state_fd);
    if (at >= 0) /* it is still empty where it was made just now */
        (void)unlinkat(at, driver->name, AT_REMOVEDIR);
    return r;
}

void storage_close(struct storage *storage)
{
    if (storage->driver)
        storage->dir_fd = fd_close(storage->dir_fd);
    storage->driver = NULL;
}

int storage_require(const struct storage *storage, enum storage_capability capability,
                    const char *operation, struct error *err)
{
    if (storage->driver->capabilities & capability)
        return 0;
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP, "storage %s cannot %s; use --storage=%s",
                storage->name, operation, storage_drivers[0]->name);
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
