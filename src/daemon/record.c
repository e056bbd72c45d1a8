/* SPDX-License-Identifier: Apache-2.0 */
/* Records: one JSON file per clone, in RuntimeDirectory/sandboxes (gone with the boot) and, for
 * kept sandboxes, in StateDirectory/kept. Written before the clone is made, replaced by rename,
 * and locked (flock) by the process that owns the sandbox: a record whose lock is free belongs
 * to nobody. Runs in isolated as root; the files are its own, but every value is checked. */
#include "base/text.h"
#include "daemon/daemon.h"
#include "sys/cgroup.h"
#include "sys/fd.h"
#include "sys/process.h"

#include <fcntl.h>
#include <poll.h>
#include <string.h>
#include <sys/file.h>
#include <sys/stat.h>

void record_clear(struct record *record)
{
    freep(&record->root);
    json_decref(record->request);
    json_decref(record->provided);
    json_decref(record->defaults);
    record->request = record->provided = record->defaults = NULL;
}

json_t *record_to_json(const struct record *record)
{
    json_t *value =
        json_pack("{s:s, s:s, s:s, s:s, s:s, s:s, s:s, s:I, s:I, s:I}", "id", record->id,
                  "name", record->name, "state", record->state, "storage", record->storage,
                  "engine", record->engine, "template", record->template_name, "generation",
                  record->generation, "first_id", (json_int_t)record->first_id, "owner_uid",
                  (json_int_t)record->owner_uid, "created_us", (json_int_t)record->created_us);
    if (!value)
        return NULL;
    if (record->started_us)
        (void)json_object_set_new(value, "started_us",
                                  json_integer((json_int_t)record->started_us));
    if (record->shares_ids)
        (void)json_object_set_new(value, "shares_ids", json_true());
    if (record->disk_bytes)
        (void)json_object_set_new(
            value, "limits", json_pack("{s:I}", "disk_bytes", (json_int_t)record->disk_bytes));
    if (record->open_elsewhere)
        (void)json_object_set_new(value, "open_elsewhere", json_true());
    if (record->root)
        (void)json_object_set_new(value, "root", json_string(record->root));
    if (record->request)
        (void)json_object_set(value, "request", record->request);
    if (record->defaults)
        (void)json_object_set(value, "defaults", record->defaults);
    if (record->provided)
        (void)json_object_set(value, "provided", record->provided);
    return value;
}

static void copy_text(const json_t *value, const char *key, char *out, size_t size)
{
    const char *text = json_string_value(json_object_get(value, key));
    (void)snprintf(out, size, "%s", text ? text : "");
}

int record_from_json(const json_t *value, struct record *record)
{
    copy_text(value, "id", record->id, sizeof(record->id));
    copy_text(value, "name", record->name, sizeof(record->name));
    copy_text(value, "state", record->state, sizeof(record->state));
    copy_text(value, "storage", record->storage, sizeof(record->storage));
    copy_text(value, "engine", record->engine, sizeof(record->engine));
    copy_text(value, "template", record->template_name, sizeof(record->template_name));
    copy_text(value, "generation", record->generation, sizeof(record->generation));
    record->first_id = (uint32_t)json_integer_value(json_object_get(value, "first_id"));
    record->owner_uid = (uint32_t)json_integer_value(json_object_get(value, "owner_uid"));
    record->created_us = (uint64_t)json_integer_value(json_object_get(value, "created_us"));
    record->started_us = (uint64_t)json_integer_value(json_object_get(value, "started_us"));
    const char *root = json_string_value(json_object_get(value, "root"));
    if (root && !(record->root = strdup(root)))
        return -ENOMEM;
    record->shares_ids = json_is_true(json_object_get(value, "shares_ids"));
    const json_t *limits = json_object_get(value, "limits");
    record->disk_bytes = (uint64_t)json_integer_value(json_object_get(limits, "disk_bytes"));
    record->open_elsewhere = json_is_true(json_object_get(value, "open_elsewhere"));
    record->request = json_incref(json_object_get(value, "request"));
    record->defaults = json_incref(json_object_get(value, "defaults"));
    record->provided = json_incref(json_object_get(value, "provided"));
    return name_is_clone(record->id) ? 0 : -EINVAL;
}

int record_read(int dir_fd, const char *id, struct record *ret, struct error *err)
{
    _cleanup_buffer_ struct buffer text = {0};
    int r = file_read_at(dir_fd, id, 32U << 20, &text);
    if (r < 0)
        return fail(err, r == -ENOENT ? ERROR_NOT_FOUND : ERROR_SYSTEM, r, "record %s: ", id);
    json_t *value = json_loadb(text.data ? text.data : "", text.length, 0, NULL);
    struct record record = {0};
    r = value ? record_from_json(value, &record) : -EINVAL;
    json_decref(value);
    if (r < 0) {
        record_clear(&record);
        return fail(err, ERROR_SYSTEM, r, "record %s is damaged: ", id);
    }
    *ret = record;
    return 0;
}

/* A new, locked file. What sweeps up after killed writers may take it away between open and
 * flock: then it is made again. */
static int open_locked(int dir_fd, const char *name)
{
    for (int tries = 0; tries < 100; tries++) {
        struct stat st;
        _cleanup_close_ int fd =
            openat(dir_fd, name, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC | O_NOFOLLOW, 0600);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &st) == 0 && st.st_nlink > 0)
            return TAKE_FD(fd);
    }
    return -EBUSY;
}

void record_sweep(int dir_fd)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, "."));
    for (struct dirent *entry = dir ? readdir(dir) : NULL; entry; entry = readdir(dir)) {
        size_t n = strlen(entry->d_name);
        if (entry->d_name[0] != '.' || n < 5 || !streq(entry->d_name + n - 4, ".new"))
            continue;
        _cleanup_close_ int fd = openat(dir_fd, entry->d_name, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        struct stat held;
        struct stat named;
        if (fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0 && fstat(fd, &held) == 0 &&
            fstatat(dir_fd, entry->d_name, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            held.st_ino == named.st_ino)
            (void)unlinkat(dir_fd, entry->d_name, 0);
    }
}

/* Locks the new file before it takes the old one's place, so that there is no moment at which
 * the record is free. */
int record_write(int dir_fd, const struct record *record, int *lock_fd, struct error *err)
{
    char temporary[CLONE_NAME_SIZE + 8];
    json_t *value = record_to_json(record);
    char *text = value ? json_dumps(value, 0) : NULL;
    json_decref(value);
    if (!text)
        return fail(err, ERROR_SYSTEM, ENOMEM, "record %s: ", record->id);
    (void)snprintf(temporary, sizeof(temporary), ".%s.new", record->id);
    _cleanup_close_ int fd = open_locked(dir_fd, temporary);
    int r = fd < 0 ? fd : 0;
    if (r == 0)
        r = fd_write_all(fd, text, strlen(text));
    free(text);
    /* a kept sandbox's record survives a power cut; on a tmpfs both calls cost nothing */
    if (r == 0 && fsync(fd) < 0)
        r = -errno;
    if (r == 0 && renameat(dir_fd, temporary, dir_fd, record->id) < 0)
        r = -errno;
    if (r < 0) {
        if (fd >= 0)
            (void)unlinkat(dir_fd, temporary, 0);
        return fail(err, ERROR_SYSTEM, r, "record %s: write: ", record->id);
    }
    fd_close(*lock_fd);
    *lock_fd = TAKE_FD(fd);
    return fsync(dir_fd) < 0 ? fail(err, ERROR_SYSTEM, errno, "record %s: write: ", record->id)
                             : 0;
}

int record_lock(int dir_fd, const char *id)
{
    for (int tries = 0; tries < 100; tries++) {
        struct stat locked;
        struct stat named;
        _cleanup_close_ int fd = openat(dir_fd, id, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
        if (fd < 0)
            return -errno;
        if (flock(fd, LOCK_EX | LOCK_NB) < 0)
            return errno == EWOULDBLOCK ? -EBUSY : -errno;
        /* replaced between open and flock? then it is the new file's lock that counts */
        if (fstat(fd, &locked) < 0)
            return -errno;
        if (fstatat(dir_fd, id, &named, AT_SYMLINK_NOFOLLOW) == 0 &&
            named.st_ino == locked.st_ino)
            return TAKE_FD(fd);
    }
    return -EBUSY;
}

/* Whoever started it may be gone, and it goes on. */
static bool has_processes(struct daemon *daemon, const char *id)
{
    _cleanup_close_ int leaf = cgroup_open(daemon->cgroup_fd, id);
    return leaf >= 0 && cgroup_is_populated(leaf) == 1;
}

int record_lock_kept(struct daemon *daemon, const char *id, int wait_ms, struct error *err)
{
    _cleanup_close_ int running = records_running(daemon, err);
    _cleanup_close_ int kept = running < 0 ? running : records_kept(daemon, err);
    if (kept < 0)
        return kept;
    /* a command that has just answered may still be about to let go */
    uint64_t end_ms = time_now_ms() + (uint64_t)wait_ms;
    _cleanup_close_ int fd = record_lock(kept, id);
    while (fd == -EBUSY && time_now_ms() < end_ms && faccessat(running, id, F_OK, 0) < 0) {
        (void)poll(NULL, 0, 2);
        fd = record_lock(kept, id);
    }
    if (fd < 0 && fd != -EBUSY)
        return fail(err, ERROR_NOT_FOUND, fd, "kept sandbox %s: ", id);
    if (fd >= 0 && !has_processes(daemon, id))
        return TAKE_FD(fd);
    return fail(err, ERROR_BUSY, EBUSY,
                "sandbox %s is running, or another command works on it; end that first", id);
}

int record_remove(int dir_fd, const char *id)
{
    return unlinkat(dir_fd, id, 0) < 0 && errno != ENOENT ? -errno : 0;
}

int record_for_each(int dir_fd, int (*each)(void *data, const char *id), void *data)
{
    _cleanup_closedir_ DIR *dir = dir_stream(dir_open_at(dir_fd, "."));
    if (!dir)
        return -errno;
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        int done = name_is_clone(entry->d_name) ? each(data, entry->d_name) : 0;
        if (done != 0)
            return done;
    }
    return r;
}

struct record_search {
    int dir_fd;
    const char *wanted;
    uint32_t viewer;
    bool names_only; /* of the viewer's own */
    int rank;        /* how well the one that was found fits */
    char *found;
};

static int match(void *data, const char *id)
{
    struct record_search *search = data;
    _cleanup_record_ struct record record = {0};
    if (record_read(search->dir_fd, id, &record, NULL) < 0) {
        /* of a damaged one only the id is left, and only root may touch it */
        record.owner_uid = 0;
        record.name[0] = '\0';
    }
    bool own = record.owner_uid == search->viewer;
    bool visible = own || (search->viewer == 0 && !search->names_only);
    int rank = !visible                                           ? 0
               : !search->names_only && streq(id, search->wanted) ? 3
               : streq(record.name, search->wanted)               ? (own ? 2 : 1)
                                                                  : 0;
    if (rank > search->rank) {
        search->rank = rank;
        (void)snprintf(search->found, CLONE_NAME_SIZE, "%s", id);
    }
    return 0;
}

static int search_records(struct record_search *search)
{
    search->found[0] = '\0';
    int r = *search->wanted ? record_for_each(search->dir_fd, match, search) : 0;
    return r < 0 ? r : search->rank > 0;
}

int record_find(int dir_fd, const char *wanted, uint32_t viewer,
                char ret_id[static CLONE_NAME_SIZE])
{
    struct record_search search = {
        .dir_fd = dir_fd, .wanted = wanted, .viewer = viewer, .found = ret_id};
    return search_records(&search);
}

int record_find_name(int dir_fd, const char *name, uint32_t owner,
                     char ret_id[static CLONE_NAME_SIZE])
{
    struct record_search search = {
        .dir_fd = dir_fd, .wanted = name, .viewer = owner, .names_only = true, .found = ret_id};
    return search_records(&search);
}

int record_read_damaged(int dir_fd, const char *id, struct record *ret, struct error *err)
{
    int r = record_read(dir_fd, id, ret, err);
    if (r == 0 || r == -ENOMEM || r == -EMFILE || r == -ENFILE || r == -ENOENT)
        return r;
    *ret = (struct record){0};
    (void)snprintf(ret->id, sizeof(ret->id), "%s", id);
    (void)snprintf(ret->storage, sizeof(ret->storage), "%s", storage_drivers[0]->name);
    return 1;
}

int records_running(struct daemon *daemon, struct error *err)
{
    int fd = dir_open_at(daemon->run_fd, "sandboxes");
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "records: ") : fd;
}

int records_kept(struct daemon *daemon, struct error *err)
{
    int fd = dir_open_at(daemon->state_fd, "kept");
    return fd < 0 ? fail(err, ERROR_SYSTEM, fd, "kept records: ") : fd;
}
