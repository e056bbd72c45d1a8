/* SPDX-License-Identifier: Apache-2.0 */
/* Records: one file per clone (record_text.c says of what), in RuntimeDirectory/sandboxes (gone
 * with the boot) and, for kept sandboxes, in StateDirectory/kept. Written before the clone is
 * made, replaced by rename, and locked (flock) by the process that owns the sandbox: a record
 * whose lock is free belongs to nobody. Runs in isolated as root; the files are its own, but
 * every value is checked. */
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
    _cleanup_buffer_ struct buffer text = {0};
    int r = record_print(record, &text);
    if (r < 0)
        return fail(err, ERROR_SYSTEM, r, "record %s: ", record->id);
    (void)snprintf(temporary, sizeof(temporary), ".%s.new", record->id);
    _cleanup_close_ int fd = open_locked(dir_fd, temporary);
    r = fd < 0 ? fd : fd_write_all(fd, text.data, text.length);
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
    if (record_read_head(search->dir_fd, id, &record, NULL) < 0) {
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
