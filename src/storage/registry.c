/* SPDX-License-Identifier: Apache-2.0 */
/* Which storage drivers there are. Runs in isolated as root; names come from callers. */
#include "base/text.h"
#include "storage/drivers.h"
#include "sys/fd.h"

#include <fcntl.h>

/* the first is the default */
const struct storage_driver *const storage_drivers[] = {
    &storage_overlay,
    &storage_dir,
    NULL,
};

static int unknown_driver(const char *name, struct error *err)
{
    const char *known[ELEMENTS(storage_drivers)];
    size_t n = 0;
    for (; storage_drivers[n]; n++)
        known[n] = storage_drivers[n]->name;
    static const char *const planned[] = {"zfs", "btrfs", "reflink"};
    for (size_t i = 0; i < ELEMENTS(planned); i++)
        if (streq(name, planned[i]))
            return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                        "storage \"%s\": not in this version of isolate yet; use "
                        "--storage=overlay",
                        name);
    const char *nearest = text_nearest(name, known, n);
    return fail(err, ERROR_NOT_FOUND, ENOENT, "storage \"%.40s\": no such driver; %s%s%s", name,
                nearest ? "did you mean \"" : "there are: overlay, dir", nearest ? nearest : "",
                nearest ? "\"?" : "");
}

int storage_open(const char *name, int state_fd, struct storage *ret, struct error *err)
{
    const struct storage_driver *driver = name ? NULL : storage_drivers[0];
    for (size_t i = 0; !driver && storage_drivers[i]; i++)
        if (streq(storage_drivers[i]->name, name))
            driver = storage_drivers[i];
    if (!driver)
        return unknown_driver(name, err);
    struct storage storage = {.driver = driver, .dir_fd = -EBADF};
    (void)snprintf(storage.name, sizeof(storage.name), "%s", driver->name);
    storage.dir_fd = dir_make_at(state_fd, driver->name, 0700);
    if (storage.dir_fd < 0)
        return fail(err, ERROR_SYSTEM, storage.dir_fd,
                    "storage %s: its directory: ", driver->name);
    int r = driver->open(&storage, err);
    if (r < 0) {
        storage_close(&storage);
        return r;
    }
    *ret = storage;
    return 0;
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
