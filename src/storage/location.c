/* SPDX-License-Identifier: Apache-2.0 */
/* Names and places of storages. Runs in isolated as root. Locations come from an administrator;
 * callers who are not root only name what is registered. */
#include "storage/location.h"

#include "base/text.h"
#include "storage/drivers.h"
#include "storage/store.h"
#include "storage/store_json.h"
#include "storage/zfs.h"
#include "sys/fd.h"

#include <fcntl.h>
#include <limits.h>
#include <linux/magic.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/vfs.h>

void storage_names_clear(struct storage_names *names)
{
    freep(&names->items);
    *names = (struct storage_names){0};
}

static int names_add(struct storage_names *names, const char *name)
{
    void *items = reallocarray(names->items, names->n + 1, sizeof(*names->items));
    if (!items)
        return -ENOMEM;
    names->items = items;
    (void)snprintf(names->items[names->n++], STORAGE_NAME_SIZE, "%s", name);
    return 0;
}

/* ---- the list of those in use ---- */

static int list_is_broken(int state_fd, const char *why, struct error *err)
{
    char directory[PATH_MAX] = "";
    (void)!readlink(fd_path(state_fd).text, directory, sizeof(directory) - 1);
    return fail(
        err, ERROR_SYSTEM, EBADMSG,
        "the list of storages elsewhere, %.200s/stores, cannot be read: %s; correct it: "
        "[\"DRIVER:LOCATION\", …], or remove it if there are none",
        directory, why);
}

static const char *name_at(const json_t *list, size_t index)
{
    const char *name = json_string_value(json_array_get(list, index));
    return name && strlen(name) < STORAGE_NAME_SIZE ? name : NULL;
}

/* What can be read of it (owned), NULL out of memory; why that is not all is in *problem. */
static json_t *list_read(int state_fd, struct error *problem)
{
    json_error_t where;
    char why[JSON_ERROR_TEXT_LENGTH + 32];
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(state_fd, "stores", 1U << 20, &text);
    if (r == -ENOENT)
        return json_array();
    json_t *list =
        r < 0 ? NULL : json_loadb(text.data ? text.data : "", text.length, 0, &where);
    if (r < 0)
        (void)snprintf(why, sizeof(why), "%s", strerror(-r));
    else if (!list)
        (void)snprintf(why, sizeof(why), "line %d: %s", where.line, where.text);
    else if (!json_is_array(list))
        (void)snprintf(why, sizeof(why), "it is no list");
    if (!json_is_array(list)) {
        json_decref(list);
        (void)list_is_broken(state_fd, why, problem);
        return json_array();
    }
    for (size_t i = json_array_size(list); i > 0; i--)
        if (!name_at(list, i - 1)) {
            (void)list_is_broken(state_fd, "an entry is no name of a storage", problem);
            (void)json_array_remove(list, i - 1);
        }
    return list;
}

/* The whole list, or an error. */
static int list_read_all(int state_fd, json_t **ret, struct error *err)
{
    struct error problem = {0};
    json_t *list = list_read(state_fd, &problem);
    if (!list)
        return fail(err, ERROR_SYSTEM, ENOMEM, "list the storages: ");
    if (problem.code != ERROR_NONE) {
        json_decref(list);
        return fail(err, problem.code, problem.errnum, "%s", problem.text);
    }
    *ret = list;
    return 0;
}

static bool list_has(const json_t *list, const char *name)
{
    for (size_t i = 0; i < json_array_size(list); i++)
        if (streq(name_at(list, i), name))
            return true;
    return false;
}

static int registered(int state_fd, struct storage_names *names)
{
    int r = 0;
    json_t *list = list_read(state_fd, &names->problem);
    if (!list)
        return -ENOMEM;
    for (size_t i = 0; i < json_array_size(list) && r == 0; i++)
        r = names_add(names, name_at(list, i));
    json_decref(list);
    return r;
}

int storage_names_list(int state_fd, struct storage_names *ret, struct error *err)
{
    _cleanup_storage_names_ struct storage_names names = {0};
    int r = 0;
    for (size_t i = 0; r == 0 && storage_drivers[i]; i++) {
        const struct storage_driver *driver = storage_drivers[i];
        /* those for one-off roots always: they work everywhere */
        int exists = driver->capabilities & STORAGE_ROOTS ? 1
                     : driver->capabilities & STORAGE_DATASETS
                         ? 0
                         : file_exists_at(state_fd, driver->name);
        r = exists > 0 ? names_add(&names, driver->name) : exists;
    }
    if (r == 0)
        r = registered(state_fd, &names);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "list the storages: ");
    *ret = TAKE_STRUCT(names);
    return 0;
}

int storage_is_known(int state_fd, const char *name, struct error *err)
{
    json_t *list = NULL;
    if (!strchr(name, ':')) /* below the state directory, or no driver at all */
        return 1;
    int r = list_read_all(state_fd, &list, err);
    if (r < 0)
        return r;
    bool is_known = list_has(list, name);
    json_decref(list);
    return is_known;
}

static int list_lock(int state_fd, struct error *err)
{
    _cleanup_close_ int lock =
        openat(state_fd, "stores.lock", O_RDWR | O_CREAT | O_CLOEXEC | O_NOFOLLOW, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, errno, "lock the list of storages: ");
    return TAKE_FD(lock);
}

int storage_register(int state_fd, const char *name, struct error *err)
{
    json_t *list = NULL;
    if (!strchr(name, ':'))
        return 0;
    _cleanup_close_ int lock = list_lock(state_fd, err);
    int r = lock < 0 ? lock : list_read_all(state_fd, &list, err);
    if (r < 0)
        return r;
    if (list_has(list, name)) {
        json_decref(list);
        return 0;
    }
    (void)json_array_append_new(list, json_string(name));
    r = store_json_write(state_fd, "stores", list);
    return r < 0 ? fail(err, error_code_of_errno(-r), r, "write down storage %s: ", name) : 0;
}

int storage_forget(int state_fd, const char *name,
                   int (*check)(void *data, const char *name, struct error *err), void *data,
                   struct error *err)
{
    json_t *list = NULL;
    const struct storage_driver *driver = NULL;
    if (!strchr(name, ':') && storage_driver_find(name, &driver, NULL) == 0)
        return fail(
            err, ERROR_INVALID, EINVAL,
            "storage \"%.80s\" lies in the state directory: only those elsewhere, which "
            "`isolate storage ls` shows as DRIVER:LOCATION, can be forgotten",
            name);
    _cleanup_close_ int lock = list_lock(state_fd, err);
    int r = lock < 0 ? lock : list_read_all(state_fd, &list, err);
    if (r == 0 && !list_has(list, name))
        r = fail(err, ERROR_NOT_FOUND, ENOENT,
                 "storage \"%.200s\" is none that isolate knows; see `isolate storage ls`",
                 name);
    if (r == 0)
        r = check(data, name, err);
    if (r < 0) {
        json_decref(list);
        return r;
    }
    for (size_t i = json_array_size(list); i > 0; i--)
        if (streq(name_at(list, i - 1), name))
            (void)json_array_remove(list, i - 1);
    r = store_json_write(state_fd, "stores", list);
    return r < 0 ? fail(err, error_code_of_errno(-r), r, "forget storage %s: ", name) : 0;
}

/* ---- places ---- */

static int check_closed(int fd, mode_t denied, const char *location, const char *part,
                        struct error *err)
{
    struct stat st;
    if (fstat(fd, &st) < 0)
        return fail(err, ERROR_SYSTEM, errno, "storage location %s: %s: ", location, part);
    /* in a sticky directory nobody else renames what is root's */
    bool is_sticky = denied == 022 && (st.st_mode & S_ISVTX);
    if (st.st_uid == 0 && (!(st.st_mode & denied) || is_sticky))
        return 0;
    return fail(
        err, ERROR_DENIED, EPERM,
        "storage location %s: \"%s\" belongs to uid %u with mode %04o, so somebody else "
        "than root could change what lies there; choose a directory that only root "
        "writes to, above it, too",
        location, part, st.st_uid, st.st_mode & 07777);
}

/* Rather than that it cannot be known. */
static bool is_absence(int errnum)
{
    return errnum == ENOENT || errnum == ENOTDIR || errnum == ELOOP;
}

/* LOCATION itself. */
static int walk(const char *location, struct error *err)
{
    char path[PATH_MAX];
    char *rest = NULL;
    (void)snprintf(path, sizeof(path), "%s", location);
    _cleanup_close_ int fd = open("/", O_PATH | O_DIRECTORY | O_CLOEXEC);
    int r = check_closed(fd, 022, location, "/", err);
    for (char *part = strtok_r(path, "/", &rest); r == 0 && part;
         part = strtok_r(NULL, "/", &rest)) {
        int next = openat(fd, part, O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
        if (next < 0)
            return fail(err, is_absence(errno) ? ERROR_NOT_FOUND : ERROR_SYSTEM, errno,
                        "storage location %s: ", location);
        fd_close(fd);
        fd = next;
        r = check_closed(fd, 022, location, part, err);
    }
    return r < 0 ? r : TAKE_FD(fd);
}

int location_open(const char *name, struct error *err)
{
    const char *location = strchr(name, ':') + 1;
    _cleanup_close_ int fd = walk(location, err);
    if (fd < 0 && fd != -ENOENT)
        return fd;
    _cleanup_close_ int own =
        fd < 0 ? fd : openat(fd, "isolate", O_PATH | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC);
    if (fd >= 0 && own < 0 && !is_absence(errno))
        return fail(err, ERROR_SYSTEM, errno, "storage %s: its directory \"isolate\": ", name);
    if (own < 0)
        return fail(err, ERROR_NOT_FOUND, fd < 0 ? fd : errno,
                    "storage %s: its directory \"isolate\" is missing; mount its file system; "
                    "where that is gone for good: isolate storage forget %s",
                    name, name);
    int r = check_closed(own, 077, location, "isolate", err);
    return r < 0 ? r : TAKE_FD(own);
}

int location_make(const char *location, struct error *err)
{
    _cleanup_close_ int fd = walk(location, err);
    _cleanup_close_ int own = fd < 0 ? fd : dir_make_at(fd, "isolate", 0700);
    if (fd < 0)
        return fd;
    return own < 0 ? fail(err, error_code_of_errno(-own), own,
                          "storage location %s: make the directory \"isolate\": ", location)
                   : 0;
}

const char *location_in_memory(const struct storage *storage)
{
    struct statfs fs;
    if ((storage->driver->capabilities & STORAGE_DATASETS) || !strchr(storage->name, ':') ||
        fstatfs(storage->dir_fd, &fs) < 0)
        return NULL;
    return fs.f_type == TMPFS_MAGIC   ? "tmpfs" /* devtmpfs, too */
           : fs.f_type == RAMFS_MAGIC ? "ramfs"
                                      : NULL;
}

void location_unmake(const char *name)
{
    const char *colon = strchr(name, ':');
    _cleanup_close_ int fd = colon ? walk(colon + 1, NULL) : -EBADF;
    if (fd >= 0)
        (void)unlinkat(fd, "isolate", AT_REMOVEDIR);
}

static int choose_driver(int place, const char *location, const struct storage_driver **ret,
                         struct error *err)
{
    for (size_t i = 0; storage_by_preference[i]; i++) {
        if (storage_by_preference[i]->suits(place)) {
            *ret = storage_by_preference[i];
            return 0;
        }
    }
    return fail(err, ERROR_UNSUPPORTED, EOPNOTSUPP,
                "%s: its file system can be used by no storage driver; choose a place on ZFS, "
                "btrfs, XFS or ext4 with --storage DRIVER:LOCATION",
                location);
}

/* A storage that is known there, of whatever driver, but is not there now: its file system is
 * not mounted, and nothing may be made in the place below. */
static int check_mounted(int state_fd, const char *path, struct error *err)
{
    _cleanup_storage_names_ struct storage_names names = {0};
    int r = registered(state_fd, &names);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "list the storages: ");
    for (size_t i = 0; r == 0 && i < names.n; i++) {
        const char *colon = strchr(names.items[i], ':');
        if (!colon || !streq(colon + 1, path))
            continue;
        _cleanup_close_ int fd = location_open(names.items[i], err);
        r = fd < 0 ? fd : 0;
    }
    return r;
}

/* LOCATION without its symlinks, as it is written down. */
static int resolve(const char *driver, const char *location, int state_fd,
                   char ret_name[static STORAGE_NAME_SIZE], struct error *err)
{
    if (location[0] != '/')
        return fail(err, ERROR_INVALID, EINVAL,
                    "--storage \"%s:%.200s\": the location must be an absolute path", driver,
                    location);
    _cleanup_free_ char *path = realpath(location, NULL);
    if (!path)
        return fail(err, ERROR_NOT_FOUND, errno, "storage location %.200s: ", location);
    if ((size_t)snprintf(ret_name, STORAGE_NAME_SIZE, "%s:%s", driver, path) >=
        STORAGE_NAME_SIZE)
        return fail(err, ERROR_INVALID, ENAMETOOLONG, "storage location %.200s: ", location);
    int r = check_mounted(state_fd, path, err);
    return r < 0 ? r : location_make(path, err);
}

static int name_dataset(const char *driver, const char *dataset,
                        char ret_name[static STORAGE_NAME_SIZE], struct error *err)
{
    (void)snprintf(ret_name, STORAGE_NAME_SIZE, "%s:%.200s", driver, dataset);
    return zfs_check_name(dataset, err);
}

/* The dataset that a directory lies in: the source of its mount. */
static int dataset_of(int place, char ret[static 200], struct error *err)
{
    struct statx stx;
    char wanted[32];
    _cleanup_buffer_ struct buffer text = {0};
    if (statx(place, "", AT_EMPTY_PATH, STATX_MNT_ID, &stx) < 0 ||
        file_read_at(AT_FDCWD, "/proc/self/mountinfo", 16U << 20, &text) < 0 || !text.data)
        return fail(err, ERROR_SYSTEM, errno, "look for the dataset of the place: ");
    (void)snprintf(wanted, sizeof(wanted), "%llu ", (unsigned long long)stx.stx_mnt_id);
    char *rest = NULL;
    for (char *line = strtok_r(text.data, "\n", &rest); line;
         line = strtok_r(NULL, "\n", &rest)) {
        const char *source = text_after(line, wanted) ? strstr(line, " - zfs ") : NULL;
        if (source && sscanf(source, " - zfs %199s", ret) == 1)
            return 0;
    }
    return fail(err, ERROR_NOT_FOUND, ENOENT, "the place is in no dataset of ZFS");
}

/* The dataset that a place lies in has other things in it, the whole system perhaps: unless it
 * is a storage already, it gets one of isolate's own. */
static int name_dataset_at(const struct storage_driver *driver, int place, int state_fd,
                           const char *directory, char ret_name[static STORAGE_NAME_SIZE],
                           struct error *err)
{
    char dataset[200];
    char own[STORAGE_NAME_SIZE];
    char mountpoint[PATH_MAX];
    int r = dataset_of(place, dataset, err);
    if (r == 0)
        r = name_dataset(driver->name, dataset, ret_name, err);
    if (r == 0)
        r = storage_is_known(state_fd, ret_name, err);
    if (r != 0)
        return r < 0 ? r : 0;
    (void)snprintf(own, sizeof(own), "%s/isolate", dataset);
    (void)snprintf(mountpoint, sizeof(mountpoint), "%s/%s", directory,
                   place == state_fd ? "datasets" : "isolate");
    r = name_dataset(driver->name, own, ret_name, err);
    return r < 0 ? r : driver->place(own, mountpoint, err);
}

static int choose_for(int place, int state_fd, const char *directory,
                      char ret_name[static STORAGE_NAME_SIZE], struct error *err)
{
    const struct storage_driver *driver = NULL;
    int r = choose_driver(place, directory, &driver, err);
    if (r < 0)
        return r;
    if (driver->capabilities & STORAGE_DATASETS)
        return name_dataset_at(driver, place, state_fd, directory, ret_name, err);
    (void)snprintf(ret_name, STORAGE_NAME_SIZE, "%s", driver->name);
    return place == state_fd ? 0 : resolve(driver->name, directory, state_fd, ret_name, err);
}

int storage_choose(const char *wanted, int state_fd, const char *state_directory,
                   char ret_name[static STORAGE_NAME_SIZE], struct error *err)
{
    const char *colon = wanted ? strchr(wanted, ':') : NULL;
    if (!wanted)
        return choose_for(state_fd, state_fd, state_directory, ret_name, err);
    if (wanted[0] == '/') {
        _cleanup_close_ int place = open(wanted, O_PATH | O_DIRECTORY | O_CLOEXEC);
        return place < 0
                   ? fail(err, ERROR_NOT_FOUND, errno, "storage location %.200s: ", wanted)
                   : choose_for(place, state_fd, wanted, ret_name, err);
    }
    if (!colon) {
        (void)snprintf(ret_name, STORAGE_NAME_SIZE, "%.60s", wanted);
        return 0;
    }
    char name[32];
    (void)snprintf(name, sizeof(name), "%.*s", (int)(colon - wanted), wanted);
    const struct storage_driver *driver = NULL;
    int r = storage_driver_find(name, &driver, err);
    if (r < 0)
        return r;
    if (driver->capabilities & STORAGE_DATASETS)
        return name_dataset(driver->name, colon + 1, ret_name, err);
    return resolve(driver->name, colon + 1, state_fd, ret_name, err);
}
