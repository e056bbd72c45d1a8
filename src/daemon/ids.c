/* SPDX-License-Identifier: Apache-2.0 */
/* Id ranges: each sandbox has 65536 host ids of its own. A range is taken by making the file
 * RuntimeDirectory/ids/FIRST, which names the sandbox, so that taking one is atomic between
 * one-shots and what a killed one took can be traced; it is locked until its sandbox has a
 * record, so that one that is not locked and has none is nobody's. What belongs to somebody
 * else on this machine is left out. Runs in isolated as root. */
#include "base/log.h"
#include "base/text.h"
#include "daemon/daemon.h"
#include "spec/ids_owned.h"
#include "storage/location.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <inttypes.h>
#include <string.h>
#include <sys/file.h>

static void range_path(uint32_t first_id, char path[static 32])
{
    (void)snprintf(path, 32, "ids/%u", first_id);
}

/* -EEXIST where the range is taken. The file appears whole and locked. */
static int range_take(struct daemon *daemon, const char *sandbox, uint32_t first_id)
{
    char path[32];
    char link[32];
    range_path(first_id, path);
    _cleanup_close_ int fd =
        openat(daemon->run_fd, "ids", O_TMPFILE | O_RDWR | O_CLOEXEC, 0600);
    if (fd < 0 || flock(fd, LOCK_EX | LOCK_NB) < 0)
        return -errno;
    int r = fd_write_all(fd, sandbox, strlen(sandbox));
    (void)snprintf(link, sizeof(link), "/proc/self/fd/%d", fd);
    if (r == 0 && linkat(AT_FDCWD, link, daemon->run_fd, path, AT_SYMLINK_FOLLOW) < 0)
        r = -errno;
    if (r < 0)
        return r;
    ids_settle(daemon);
    daemon->range_fd = TAKE_FD(fd);
    return 0;
}

void ids_settle(struct daemon *daemon)
{
    daemon->range_fd = fd_close(daemon->range_fd);
}

/* Whose else a range is, of the machine's users, of those with subordinate ids, of systemd.
 * They may have got it since isolated was started. */
static int search_owners(uint32_t first_id, struct ids_owners *ret, struct error *err)
{
    const struct id_span ids = {first_id, (uint64_t)first_id + USERNS_RANGE - 1};
    struct ids_owner first;
    int r = ids_owned_search(&ids, ret, err);
    if (r == 0)
        ids_owned_add(ret, "systemd", ids_owned_find_systemd(&ids, &first), &first);
    return r;
}

static int none_left(uint32_t n, uint32_t n_owned, const struct ids_owners *owned,
                     struct error *err)
{
    if (n_owned == 0)
        return fail(
            err, ERROR_NO_SPACE, EUSERS,
            "all %u id ranges are in use; end sandboxes, remove kept ones (`isolate ps -a`), "
            "or raise Ranges= in the configuration",
            n);
    return fail(
        err, ERROR_NO_SPACE, EUSERS,
        "no id range is free: %u of %u are in use, and %u belong to somebody else: %s "
        "gives %" PRIu64 " to %" PRIu64
        " to %s; set FirstId= and Ranges= in the configuration to ids that are nobody's",
        n - n_owned, n, n_owned, owned->source, owned->first.ids.first, owned->first.ids.last,
        owned->first.owner);
}

int ids_allocate(struct daemon *daemon, const char *sandbox, uint32_t *ret_first_id,
                 struct error *err)
{
    uint32_t n = daemon->config.ranges;
    uint32_t n_owned = 0;
    uint32_t at = 0;
    struct ids_owners owned = {0};
    /* from a random place on, so that ids are not used again soon and one-shots do not collide
     */
    random_fill(&at, sizeof(at));
    for (uint32_t tries = 0; tries < n; tries++) {
        uint32_t first_id = daemon->config.first_id + (at + tries) % n * USERNS_RANGE;
        struct ids_owners owners;
        int r = range_take(daemon, sandbox, first_id);
        if (r == -EEXIST)
            continue;
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "take an id range: ");
        r = search_owners(first_id, &owners, err);
        if (r == 0 && owners.n == 0) {
            *ret_first_id = first_id;
            return 0;
        }
        if (r == 0)
            owned = owners;
        int freed = ids_free(daemon, sandbox, first_id, r < 0 ? NULL : err);
        ids_settle(daemon);
        if (r < 0 || freed < 0)
            return r < 0 ? r : freed;
        n_owned++;
    }
    return none_left(n, n_owned, &owned, err);
}

#define OF_A_TEMPLATE "template "

/* Templates that were made of each other have one range. */
static bool is_held_for(const char *holder, const char *sandbox)
{
    size_t n = strlen(OF_A_TEMPLATE);
    return streq(holder, sandbox) ||
           (strncmp(holder, OF_A_TEMPLATE, n) == 0 && strncmp(sandbox, OF_A_TEMPLATE, n) == 0);
}

int ids_reserve(struct daemon *daemon, const char *sandbox, uint32_t first_id,
                struct error *err)
{
    int r = range_take(daemon, sandbox, first_id);
    if (r == 0)
        return 0;
    if (r == -EEXIST) {
        char path[32];
        _cleanup_buffer_ struct buffer holder = {0};
        range_path(first_id, path);
        if (file_read_at(daemon->run_fd, path, 256, &holder) == 0 && holder.data &&
            is_held_for(holder.data, sandbox))
            return 0;
        return fail(err, ERROR_BUSY, EBUSY, "the id range %u of %s is used by %s", first_id,
                    sandbox, holder.data ? holder.data : "another sandbox");
    }
    return fail(err, ERROR_SYSTEM, r, "reserve the id range %u: ", first_id);
}

int ids_free(struct daemon *daemon, const char *sandbox, uint32_t first_id, struct error *err)
{
    char path[32];
    _cleanup_buffer_ struct buffer holder = {0};
    if (first_id == 0)
        return 0;
    range_path(first_id, path);
    int r = file_read_at(daemon->run_fd, path, 256, &holder);
    /* a record that was left behind may name a range that somebody else has by now */
    if (r == 0 && strcmp(holder.data ? holder.data : "", sandbox) == 0 &&
        unlinkat(daemon->run_fd, path, 0) < 0)
        r = -errno;
    return r < 0 && r != -ENOENT
               ? fail(err, ERROR_SYSTEM, r, "give the id range %u back: ", first_id)
               : 0;
}

/* ---- ranges of templates ----
 *
 * Kept until the next boot whatever becomes of the template: clones of it may go on, and
 * another template that was made of one has the same. */

static void template_holder(const char *template_name, char ret[static 96])
{
    (void)snprintf(ret, 96, OF_A_TEMPLATE "%.63s", template_name);
}

static int share_new(struct daemon *daemon, struct storage *storage, const char *template_name,
                     uint32_t *ret_first_id, struct error *err)
{
    char holder[96];
    template_holder(template_name, holder);
    int r = ids_allocate(daemon, holder, ret_first_id, err);
    if (r < 0)
        return r;
    r = storage->driver->range_make(storage, template_name, *ret_first_id, err);
    ids_settle(daemon);
    struct error unfreed = {0};
    if (r < 0 && ids_free(daemon, holder, *ret_first_id, &unfreed) < 0)
        log_warning("template \"%s\": %s", template_name, unfreed.text);
    return r;
}

int ids_share(struct daemon *daemon, struct storage *storage, const char *template_name,
              uint32_t *ret_first_id, struct error *err)
{
    /* two at once: the second finds what the first has chosen */
    _cleanup_close_ int lock =
        openat(daemon->run_fd, "share.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, errno, "lock the id ranges: ");
    int r = storage->driver->range(storage, template_name, ret_first_id, err);
    return r < 0               ? r
           : *ret_first_id > 0 ? 0
                               : share_new(daemon, storage, template_name, ret_first_id, err);
}

int ids_reserve_template(struct daemon *daemon, const char *template_name, uint32_t first_id,
                         struct error *err)
{
    char holder[96];
    template_holder(template_name, holder);
    int r = ids_reserve(daemon, holder, first_id, err);
    ids_settle(daemon);
    return r;
}

static int reserve_one(void *data, const char *template_name, uint32_t first_id)
{
    struct error err = {0};
    if (first_id != 0 && ids_reserve_template(data, template_name, first_id, &err) < 0)
        log_warning("template \"%s\": %s", template_name, err.text);
    return 0;
}

void ids_reserve_shared(struct daemon *daemon)
{
    _cleanup_storage_names_ struct storage_names names = {0};
    if (storage_names_list(daemon->state_fd, &names, NULL) < 0)
        return;
    for (size_t i = 0; i < names.n; i++) {
        _cleanup_storage_ struct storage storage = {0};
        if (storage_open(names.items[i], daemon->state_fd, &storage, NULL) == 0 &&
            storage.driver->ranges)
            (void)storage.driver->ranges(&storage, reserve_one, daemon, NULL);
    }
}
