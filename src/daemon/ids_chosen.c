/* SPDX-License-Identifier: Apache-2.0 */
/* A range of ids that root has chosen for a sandbox (the original's -u and -g): nobody else's,
 * neither of the machine nor of isolate. Runs in isolated's builder as root. */
#include "daemon/daemon.h"
#include "spec/ids_owned.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <dirent.h>
#include <fcntl.h>
#include <inttypes.h>
#include <stdlib.h>
#include <string.h>
#include <sys/file.h>

static bool overlaps(const struct id_span *ids, uint64_t first, uint64_t count)
{
    return first <= ids->last && ids->first < first + count;
}

static int check_owners(const struct id_span *ids, struct error *err)
{
    struct ids_owners owners;
    int r = ids_owned_search(ids, &owners, err);
    if (r < 0 || owners.n == 0)
        return r;
    return fail(err, ERROR_DENIED, EPERM,
                "ids %" PRIu64 " to %" PRIu64 " are not free: %s gives %" PRIu64 " to %" PRIu64
                " to %s; choose 65536 that belong to nobody",
                ids->first, ids->last, owners.source, owners.first.ids.first,
                owners.first.ids.last, owners.first.owner);
}

static int check_own(const struct config *config, const struct id_span *ids, struct error *err)
{
    uint64_t count = (uint64_t)config->ranges * USERNS_RANGE;
    if (!overlaps(ids, config->first_id, count))
        return 0;
    return fail(err, ERROR_DENIED, EPERM,
                "ids %" PRIu64 " to %" PRIu64 " are among isolate's own (FirstId=, Ranges=: %u "
                "to %" PRIu64 "), which it gives to sandboxes itself; choose others",
                ids->first, ids->last, config->first_id, config->first_id + count - 1);
}

/* Those that were chosen need not lie as ours do: any of them may overlap. */
static int check_taken(struct daemon *daemon, const struct id_span *ids, struct error *err)
{
    int fd = dir_open_at(daemon->run_fd, "ids");
    _cleanup_closedir_ DIR *dir = dir_stream(fd);
    if (!dir)
        return fail(err, ERROR_SYSTEM, -errno, "id ranges: ");
    struct dirent *entry = NULL;
    int r = dir_next(dir, &entry);
    for (; r > 0; r = dir_next(dir, &entry)) {
        char *end = NULL;
        uint64_t first = strtoull(entry->d_name, &end, 10);
        if (end == entry->d_name || *end || !overlaps(ids, first, USERNS_RANGE))
            continue;
        _cleanup_buffer_ struct buffer holder = {0};
        bool known = file_read_at(fd, entry->d_name, 256, &holder) == 0 && holder.data;
        return fail(err, ERROR_BUSY, EBUSY, "ids %" PRIu64 " to %" PRIu64 " are in use, by %s",
                    ids->first, ids->last, known ? holder.data : "another sandbox");
    }
    return r < 0 ? fail(err, ERROR_SYSTEM, r, "id ranges: ") : 0;
}

int ids_check_choice(struct daemon *daemon, uint32_t first_id, struct error *err)
{
    const struct id_span ids = {first_id, (uint64_t)first_id + USERNS_RANGE - 1};
    int r = check_owners(&ids, err);
    if (r == 0)
        r = check_own(&daemon->config, &ids, err);
    return r < 0 ? r : check_taken(daemon, &ids, err);
}

int ids_choose(struct daemon *daemon, const char *sandbox, uint32_t first_id, struct error *err)
{
    /* two at once: the second finds the first one's */
    _cleanup_close_ int lock =
        openat(daemon->run_fd, "choose.lock", O_RDWR | O_CREAT | O_CLOEXEC, 0600);
    if (lock < 0 || flock(lock, LOCK_EX) < 0)
        return fail(err, ERROR_SYSTEM, errno, "lock the id ranges: ");
    int r = ids_check_choice(daemon, first_id, err);
    return r < 0 ? r : ids_reserve(daemon, sandbox, first_id, err);
}
