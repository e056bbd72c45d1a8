/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the ids of sandboxes belong to nobody else. Runs in isolate-ctl as the caller; reads
 * root's files in /etc. */
#include "client/doctor.h"

#include "paths.h"
#include "sys/fd.h"
#include "sys/userns.h"

#include <fcntl.h>
#include <inttypes.h>

#define FILE_MAX_BYTES (64U << 20)

struct search {
    struct doctor_ids ids;
    size_t n;
    const char *source; /* of the first hit */
    struct doctor_ids_hit hit;
};

static void search_add(struct search *search, const char *source, size_t n,
                       const struct doctor_ids_hit *hit)
{
    if (search->n == 0 && n > 0) {
        search->source = source;
        search->hit = *hit;
    }
    search->n += n;
}

static int search_files(struct search *search, struct error *err)
{
    static const struct {
        const char *path;
        enum doctor_ids_format format;
    } files[] = {
        {"/etc/subuid", DOCTOR_IDS_SUBORDINATE},
        {"/etc/subgid", DOCTOR_IDS_SUBORDINATE},
        {"/etc/passwd", DOCTOR_IDS_PASSWD},
        {"/etc/group", DOCTOR_IDS_GROUP},
    };
    for (size_t i = 0; i < ELEMENTS(files); i++) {
        _cleanup_buffer_ struct buffer text = {0};
        _cleanup_close_ int fd = open(files[i].path, O_RDONLY | O_CLOEXEC);
        struct doctor_ids_hit hit;
        if (fd < 0 && errno == ENOENT)
            continue;
        int r = fd < 0 ? -errno : fd_read_all(fd, FILE_MAX_BYTES, &text);
        if (r < 0)
            return fail(err, ERROR_SYSTEM, r, "%s: ", files[i].path);
        if (text.data)
            search_add(search, files[i].path,
                       doctor_ids_find(text.data, files[i].format, &search->ids, &hit), &hit);
    }
    return 0;
}

static void tell_overlap(const struct doctor *doctor, const struct search *search,
                         struct doctor_check *check)
{
    char more[48] = "";
    if (search->n > 1)
        (void)snprintf(more, sizeof(more), " (and %zu more)", search->n - 1);
    doctor_bad(check, "%" PRIu64 "-%" PRIu64 " overlaps %s: %s %" PRIu64 "-%" PRIu64 "%s",
               search->ids.first, search->ids.last, search->source, search->hit.owner,
               search->hit.ids.first, search->hit.ids.last, more);
    doctor_remedy(check,
                  "in [Sandboxes] of " PATH_CONFIG_DIR "/isolated.conf, set FirstId= and "
                  "Ranges= (now %u and %u) to blocks of 65536 ids outside of %" PRIu64
                  "-%" PRIu64,
                  doctor->config.first_id, doctor->config.ranges, search->hit.ids.first,
                  search->hit.ids.last);
}

void doctor_check_ids(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    uint64_t count = (uint64_t)doctor->config.ranges * USERNS_RANGE;
    struct search search = {
        .ids = {doctor->config.first_id, doctor->config.first_id + count - 1}};
    struct doctor_ids_hit hit;
    int r = search_files(&search, &err);
    if (r < 0) {
        doctor_bad(check, "%.250s", err.text);
        doctor_remedy(check, "make the file readable to everyone: chmod 0644");
        return;
    }
    search_add(&search, "systemd's ids", doctor_ids_find_systemd(&search.ids, &hit), &hit);
    if (search.n > 0)
        tell_overlap(doctor, &search, check);
    else
        doctor_ok(check, "%" PRIu64 "-%" PRIu64 ", nobody else's: %u sandboxes",
                  search.ids.first, search.ids.last, doctor->config.ranges);
}
