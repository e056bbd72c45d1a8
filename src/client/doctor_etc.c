/* SPDX-License-Identifier: Apache-2.0 */
/* Whether the ids of sandboxes belong to nobody else. Runs in isolate-ctl as the caller; reads
 * root's files in /etc. */
#include "client/doctor.h"

#include "paths.h"
#include "spec/ids_owned.h"
#include "sys/userns.h"

#include <inttypes.h>

static void tell_overlap(const struct doctor *doctor, const struct id_span *ids,
                         const struct ids_owners *owners, struct doctor_check *check)
{
    char more[48] = "";
    if (owners->n > 1)
        (void)snprintf(more, sizeof(more), " (and %zu more)", owners->n - 1);
    doctor_bad(check, "%" PRIu64 "-%" PRIu64 " overlaps %s: %s %" PRIu64 "-%" PRIu64 "%s",
               ids->first, ids->last, owners->source, owners->first.owner,
               owners->first.ids.first, owners->first.ids.last, more);
    doctor_remedy(check,
                  "in [Sandboxes] of " PATH_CONFIG_DIR "/isolated.conf, set FirstId= and "
                  "Ranges= (now %u and %u) to blocks of 65536 ids outside of %" PRIu64
                  "-%" PRIu64,
                  doctor->config.first_id, doctor->config.ranges, owners->first.ids.first,
                  owners->first.ids.last);
}

void doctor_check_ids(const struct doctor *doctor, struct doctor_check *check)
{
    struct error err = {0};
    uint64_t count = (uint64_t)doctor->config.ranges * USERNS_RANGE;
    const struct id_span ids = {doctor->config.first_id, doctor->config.first_id + count - 1};
    struct ids_owners owners;
    struct ids_owner first;
    int r = ids_owned_search(&ids, &owners, &err);
    if (r < 0) {
        doctor_bad(check, "%.250s", err.text);
        doctor_remedy(check, "make the file readable to everyone: chmod 0644");
        return;
    }
    ids_owned_add(&owners, "systemd's ids", ids_owned_find_systemd(&ids, &first), &first);
    if (owners.n > 0)
        tell_overlap(doctor, &ids, &owners, check);
    else
        doctor_ok(check, "%" PRIu64 "-%" PRIu64 ", nobody else's: %u sandboxes", ids.first,
                  ids.last, doctor->config.ranges);
}
